package certs

import (
	"encoding/base64"
	"errors"
	"fmt"

	"sigs.k8s.io/yaml"
)

// access is what a kubeconfig of one user says.
type access struct {
	server    string
	authority []byte
	cert, key []byte
}

type kubeconfigFile struct {
	Clusters []struct {
		Cluster struct {
			Server    string `json:"server"`
			Authority []byte `json:"certificate-authority-data"`
		} `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		User struct {
			Cert []byte `json:"client-certificate-data"`
			Key  []byte `json:"client-key-data"`
		} `json:"user"`
	} `json:"users"`
}

// readKubeconfig reads a kubeconfig with one cluster and at most one user, as
// kubeadm and PAI write them.
func readKubeconfig(data []byte) (access, error) {
	var f kubeconfigFile
	if err := yaml.Unmarshal(data, &f); err != nil {
		return access{}, err
	}
	if len(f.Clusters) != 1 || len(f.Users) > 1 {
		return access{}, fmt.Errorf("it has %d clusters and %d users", len(f.Clusters), len(f.Users))
	}
	a := access{server: f.Clusters[0].Cluster.Server, authority: f.Clusters[0].Cluster.Authority}
	if len(f.Users) == 1 {
		a.cert, a.key = f.Users[0].User.Cert, f.Users[0].User.Key
	}
	return a, nil
}

// withIdentity replaces the certificate and the key in a kubeconfig. All else stays.
func withIdentity(data, cert, key []byte) ([]byte, error) {
	var whole map[string]any
	if err := yaml.Unmarshal(data, &whole); err != nil {
		return nil, err
	}
	users, _ := whole["users"].([]any)
	if len(users) != 1 {
		return nil, fmt.Errorf("it has %d users", len(users))
	}
	entry, _ := users[0].(map[string]any)
	user, ok := entry["user"].(map[string]any)
	if !ok {
		return nil, errors.New("its user has no certificate")
	}
	user["client-certificate-data"] = base64.StdEncoding.EncodeToString(cert)
	user["client-key-data"] = base64.StdEncoding.EncodeToString(key)
	return yaml.Marshal(whole)
}
