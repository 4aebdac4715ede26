package inspect

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
)

// Condition is what checks look at on a machine.
type Condition struct {
	// The clock of the machine at the start and at the end.
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`

	Disks           []Disk           `json:"disks"`
	MemoryTotal     int64            `json:"memoryTotal"` // bytes
	MemoryAvailable int64            `json:"memoryAvailable"`
	ControlPlaneRSS int64            `json:"controlPlaneRSS"` // of the running API server and etcd
	Swap            map[string]int64 `json:"swap,omitempty"`  // device → bytes
	CgroupVersion   int              `json:"cgroupVersion"`
	Controllers     []string         `json:"controllers,omitempty"`
	Kernel          map[string]bool  `json:"kernel"`
	Overlay         bool             `json:"overlay"` // the directory of containerd is on an overlay
	// Listeners are those on the requested ports. They are unknown, with a problem,
	// unless ListenersKnown.
	ListenersKnown bool       `json:"listenersKnown"`
	Listeners      []Listener `json:"listeners,omitempty"`
	Names          []Lookup   `json:"names"`
	Addresses      []string   `json:"addresses"` // IPv4
	// Networks are the addresses with their interfaces.
	Networks []Network `json:"networks,omitempty"`
	Routes   []Route   `json:"routes,omitempty"`
	// NetworkMounts are file systems that servers provide. They are unknown, with a problem,
	// unless MountsKnown.
	MountsKnown   bool           `json:"mountsKnown"`
	NetworkMounts []NetworkMount `json:"networkMounts,omitempty"`
	// NFSClient: the machine can mount NFS.
	NFSClient bool `json:"nfsClient"`
	// System is the operating system.
	System *System `json:"system,omitempty"`
	// Strangers is what other programs left or run.
	Strangers *Strangers `json:"strangers,omitempty"`

	KubeletConfig []byte `json:"kubeletConfig,omitempty"`
	CPUState      []byte `json:"cpuState,omitempty"`
	MemoryState   []byte `json:"memoryState,omitempty"`
	// Certificates has the certificates of a file in PEM. Keys stay on the machine.
	Certificates map[string][]byte `json:"certificates,omitempty"`
}

// condition reports what checks look at.
func (i *inspection) condition(ctx context.Context) error {
	c := &Condition{Began: time.Now(), Certificates: map[string][]byte{}}
	names := i.lookups(ctx)
	for _, fill := range []func(context.Context, *Condition) error{i.space, i.memoryUse, i.kernel, i.kubeletFiles, i.certificates, i.systemFacts, i.strangers, i.addresses, i.networks, i.routes, i.networkMounts, i.nfsClient} {
		if err := fill(ctx, c); err != nil {
			return err
		}
	}
	var err error
	c.Listeners, err = i.listeners(i.request.Ports)
	c.ListenersKnown = err == nil
	i.problem(err, string(ConditionOf), "listeners")
	c.Names = names()
	c.Ended = time.Now()
	i.report.Condition = c
	return nil
}

func (i *inspection) kubeletFiles(_ context.Context, c *Condition) error {
	for path, into := range map[string]*[]byte{
		layout.RoleLink(layout.RoleKubelet) + "/etc/" + layout.KubeletConfigName: &c.KubeletConfig,
		layout.CPUManagerState:    &c.CPUState,
		layout.MemoryManagerState: &c.MemoryState,
	} {
		data, err := i.read(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		*into = data
	}
	return nil
}

// certificates reads the certificates of the cluster and of kubeconfigs.
func (i *inspection) certificates(_ context.Context, c *Condition) error {
	for _, pattern := range []string{layout.PKIDir + "/*.crt", layout.PKIDir + "/etcd/*.crt", layout.KubeletClientCertificate, layout.KubeletServingCertificate} {
		if err := i.eachFile(pattern, func(path string, data []byte) error { return c.addCertificates(path, data) }); err != nil {
			return err
		}
	}
	for _, pattern := range []string{layout.KubernetesDir + "/*.conf", layout.ConfigDir + "/*.conf"} {
		if err := i.eachFile(pattern, c.addKubeconfig); err != nil {
			return err
		}
	}
	return nil
}

func (i *inspection) eachFile(pattern string, do func(path string, data []byte) error) error {
	files, err := filepath.Glob(i.at(pattern))
	if err != nil {
		return err
	}
	for _, file := range files {
		path := filepath.Join("/", strings.TrimPrefix(file, i.Root))
		data, err := i.read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a link to nothing
		}
		if err == nil {
			err = do(path, data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addCertificates adds the certificates of a PEM file, and leaves out its keys.
func (c *Condition) addCertificates(path string, data []byte) error {
	var own bytes.Buffer
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			own.Write(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		}
	}
	if own.Len() == 0 {
		return fmt.Errorf("%s has no certificate", path)
	}
	c.Certificates[path] = own.Bytes()
	return nil
}

// addKubeconfig adds the client certificate of a kubeconfig, if it has one. Other
// files have that ending as well.
func (c *Condition) addKubeconfig(path string, data []byte) error {
	for line := range strings.Lines(string(data)) {
		value, found := strings.CutPrefix(strings.TrimSpace(line), "client-certificate-data:")
		if !found {
			continue
		}
		certificate, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if err != nil {
			return fmt.Errorf("read the certificate in %s: %w", path, err)
		}
		return c.addCertificates(path, certificate)
	}
	return nil
}
