package openpaisecrets

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/util/yaml"

	"pai.dev/pai/internal/pai"
)

const (
	// maxFile is far more than etcd of an OpenPAI cluster can have of users.
	maxFile = 64 << 20
	// maxSecrets bounds the users, groups, and owners of tokens together.
	maxSecrets = 20_000
)

// secret is the part of a Kubernetes Secret that is read, or a list of them.
type secret struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"metadata"`
	Type  string            `json:"type"`
	Data  map[string][]byte `json:"data"`
	Items []secret          `json:"items"`
}

// Read reads Secrets as kubectl prints them with -o json or -o yaml: one, a list, or
// several YAML documents. The error lists all Secrets that cannot be read, and quotes
// nothing of their data.
func Read(r io.Reader) (Export, error) {
	limited := &io.LimitedReader{R: r, N: maxFile + 1}
	decoder := yaml.NewYAMLOrJSONDecoder(bufio.NewReader(limited), 4096)
	var all Export
	var problems error
	for count := 0; ; {
		var s secret
		err := decoder.Decode(&s)
		switch {
		case limited.N <= 0:
			return Export{}, pai.Errorf(pai.CodeInvalid, "export one namespace at a time", "the file has more than %d MiB", maxFile>>20)
		case errors.Is(err, io.EOF):
			return all, problems
		case err != nil: // its text can quote what it could not decode
			return Export{}, pai.Errorf(pai.CodeInvalid, "export it again; run in the old cluster: kubectl get secrets -n pai-user-v2 -o json",
				"the file is not JSON or YAML of Kubernetes Secrets")
		}
		items := s.Items
		if s.Kind == "Secret" {
			items = []secret{s}
		}
		if count += len(items); count > maxSecrets {
			return Export{}, pai.Errorf(pai.CodeInvalid, "", "the file has more than %d Secrets", maxSecrets)
		}
		for _, item := range items {
			found, err := item.read()
			if err != nil {
				problems = errors.Join(problems, fmt.Errorf("secret %q in namespace %q: %w", item.Metadata.Name, item.Metadata.Namespace, err))
			}
			all.Add(found)
		}
	}
}

// read reads the Secret of one user, one group, or the tokens of one user.
func (s secret) read() (e Export, err error) {
	if s.Kind != "" && s.Kind != "Secret" {
		return e, fmt.Errorf("it is a %q, not a Secret", s.Kind)
	}
	if s.Type == "kubernetes.io/service-account-token" {
		return e, nil // Kubernetes puts one into each namespace
	}
	switch s.Metadata.Namespace {
	case usersNamespace:
		u, err := s.user()
		if err == nil {
			e.Users = []User{u}
		}
		return e, err
	case groupsNamespace:
		g, err := s.group()
		if err == nil {
			e.Groups = []Group{g}
		}
		return e, err
	case tokensNamespace:
		e.Tokens, err = s.tokens()
		return e, err
	case olderUsersNamespace:
		return e, errors.New("its form is that of releases before OpenPAI 1.0; start OpenPAI 1.0 or newer once, which converts users, and export again")
	}
	return e, fmt.Errorf("the namespace is none of %s, %s, and %s", usersNamespace, groupsNamespace, tokensNamespace)
}

func (s secret) user() (User, error) {
	u := User{Name: string(s.Data["username"]), Email: string(s.Data["email"]), PasswordKey: string(s.Data["password"])}
	return u, errors.Join(
		s.named(u.Name),
		s.field("grouplist", &u.Groups),
		s.field("extension", &u.Extension),
	)
}

func (s secret) group() (Group, error) {
	g := Group{Name: string(s.Data["groupname"]), Description: string(s.Data["description"]), ExternalName: string(s.Data["externalName"])}
	if err := errors.Join(s.named(g.Name), s.field("extension", &g.Extension)); err != nil {
		return g, err
	}
	var rights struct {
		Admin           bool     `json:"admin"`
		VirtualClusters []string `json:"virtualClusters"`
		Storages        []string `json:"storageConfigs"`
	}
	if raw, ok := g.Extension["acls"]; ok && json.Unmarshal(raw, &rights) != nil {
		return g, errors.New("the rights (acls) are not valid")
	}
	g.Admin, g.VirtualClusters, g.Storages = rights.Admin, rights.VirtualClusters, rights.Storages
	delete(g.Extension, "acls")
	return g, nil
}

// field reads a value that OpenPAI stores as JSON; an absent or empty one is nothing.
func (s secret) field(key string, into any) error {
	if len(s.Data[key]) == 0 {
		return nil
	}
	if json.Unmarshal(s.Data[key], into) != nil { // its error can quote the value
		return fmt.Errorf("%s is not valid JSON", key)
	}
	return nil
}
