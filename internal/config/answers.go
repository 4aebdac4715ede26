package config

import (
	"errors"
	"fmt"

	"pai.dev/pai/internal/pai"
)

// Answers is a file that a configuration is generated from. It has the keys of
// the historical quick-start.yaml, and three more.
type Answers struct {
	Machines    []string    `yaml:"machines"`
	Username    string      `yaml:"ssh-username"`
	Password    Secret      `yaml:"ssh-password"`
	KeyfilePath string      `yaml:"ssh-keyfile-path"`
	Port        int         `yaml:"ssh-port"`
	Range       string      `yaml:"service-cluster-ip-range"`
	ClusterID   string      `yaml:"cluster-id"`
	Release     pai.Release `yaml:"release"`
}

func answersKeys() key {
	address := key{shape: text, format: addresses()}
	return key{shape: object, keys: []key{
		{name: "machines", shape: list, required: true, item: &address},
		{name: "ssh-username", shape: text, format: users()},
		{name: "ssh-password", shape: text, secret: true},
		{name: "ssh-keyfile-path", shape: text, format: paths()},
		{name: "ssh-port", shape: number, format: ports()},
		{name: "dns", shape: text, effect: ignored},
		{name: "service-cluster-ip-range", shape: text, format: ranges()},
		{name: "cluster-id", shape: text, format: labels(maxClusterID)},
		{name: "release", shape: text, format: releaseNames()},
	}}
}

// ReadAnswers reads an answer file. The error names all of its mistakes.
func ReadAnswers(file string) (Answers, error) {
	var a Answers
	data, err := readFile(file)
	if err != nil {
		return a, pai.Errorf(pai.CodeUsage, "name the answer file with --answers FILE", "%s: %w", file, err)
	}
	root, problems := parse(data)
	if root != nil {
		problems = checkShape(root, answersKeys()).Problems()
		_ = root.Decode(&a) // the shape check has reported what does not fit
	}
	if len(problems) > 0 {
		return a, &pai.Error{
			Code: pai.CodeInvalid, Message: "the answers have " + count(len(problems), "mistake"),
			Next: "fix the mistakes and run the command again", Err: listed{problems.In(file)},
		}
	}
	return a, nil
}

// Targets are the machines of the answers, before they are reached.
func (a Answers) Targets() ([]Machine, error) {
	if len(a.Machines) == 0 {
		return nil, errors.New("the answers name no machine")
	}
	var list []Machine
	for _, ip := range a.Machines {
		if wrong := checkAddress(ip); wrong != "" {
			return nil, fmt.Errorf("machine: %s", wrong)
		}
		m := Machine{HostIP: ip, SSHPort: a.Port, Username: a.Username, KeyfilePath: a.KeyfilePath, Password: a.Password}
		setDefault(&m.SSHPort, DefaultSSHPort)
		setDefault(&m.Username, DefaultUser)
		list = append(list, m)
	}
	return list, nil
}

// Adjust sets the other answers in a configuration.
func (a Answers) Adjust(c *Config) {
	if a.Range != "" {
		c.Kubernetes.ServiceClusterIPRange, c.Kubernetes.ClusterDNS = a.Range, clusterDNS(a.Range)
	}
}
