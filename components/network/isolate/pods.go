package isolate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	// taskAnnotation of a pod is the job that the pod belongs to, by its name in the
	// namespace. The REST server sets it on the tasks of every job that it accepts from
	// v0.11 on, and a policy of the API server fixes its value. Jobs that started before
	// have none, and keep what they reach.
	taskAnnotation = "pai.dev/network"
	// taskNamespaces starts the names of the namespaces of virtual clusters.
	taskNamespaces = "pai-vc-"
	// podAnnotations is the capability in which containerd passes the annotations of a pod.
	podAnnotations = "io.kubernetes.cri.pod-annotations"
)

var (
	interfaceName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,15}$`)
	objectName    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
)

// A pod of this machine, as CNI connected it.
type pod struct {
	id      string // of its sandbox
	address netip.Addr
	port    string // its port of the bridge
	mac     string
	job     string // namespace and name; empty for a pod that is not isolated
	netns   string
}

// attachment is a file that libcni stores for each pod.
type attachment struct {
	ContainerID    string                     `json:"containerId"`
	NetNS          string                     `json:"netns"`
	Args           [][2]string                `json:"cniArgs"`
	CapabilityArgs map[string]json.RawMessage `json:"capabilityArgs"`
	Result         struct {
		Interfaces []struct {
			Name    string `json:"name"`
			MAC     string `json:"mac"`
			Sandbox string `json:"sandbox"`
		} `json:"interfaces"`
		IPs []struct {
			Interface *int   `json:"interface"`
			Address   string `json:"address"`
		} `json:"ips"`
	} `json:"result"`
}

// readPod reads the file of a pod whose bridge has this name.
func readPod(data []byte, bridge string) (pod, error) {
	var a attachment
	if err := json.Unmarshal(data, &a); err != nil {
		return pod{}, err
	}
	p := pod{id: a.ContainerID, netns: a.NetNS}
	if len(a.Result.IPs) != 1 || a.Result.IPs[0].Interface == nil {
		return pod{}, errors.New("the pod does not have one address")
	}
	prefix, err := netip.ParsePrefix(a.Result.IPs[0].Address)
	if err != nil || !prefix.Addr().Is4() {
		return pod{}, fmt.Errorf("%q is not the IPv4 address of a pod", a.Result.IPs[0].Address)
	}
	p.address = prefix.Addr()
	for i, n := range a.Result.Interfaces {
		switch {
		case n.Sandbox == "" && n.Name != bridge:
			p.port = n.Name
		case n.Sandbox != "" && i == *a.Result.IPs[0].Interface:
			p.mac = n.MAC
		}
	}
	if mac, err := net.ParseMAC(p.mac); err != nil || len(mac) != 6 || !interfaceName.MatchString(p.port) {
		return pod{}, fmt.Errorf("port %q and MAC address %q are not those of a pod", p.port, p.mac)
	}
	p.job, err = jobOf(a)
	return p, err
}

// jobOf is the job that isolates a pod.
func jobOf(a attachment) (string, error) {
	namespace := ""
	for _, arg := range a.Args {
		if arg[0] == "K8S_POD_NAMESPACE" {
			namespace = arg[1]
		}
	}
	if namespace == "" {
		return "", errors.New("the pod has no namespace")
	}
	var annotations map[string]string
	if raw := a.CapabilityArgs[podAnnotations]; raw != nil {
		if err := json.Unmarshal(raw, &annotations); err != nil {
			return "", fmt.Errorf("read the annotations of the pod: %w", err)
		}
	}
	job := annotations[taskAnnotation]
	if job == "" || !strings.HasPrefix(namespace, taskNamespaces) {
		return "", nil
	}
	if !objectName.MatchString(job) {
		return "", fmt.Errorf("%q is not the name of a job", job)
	}
	return namespace + "/" + job, nil
}

// podFiles reads the files that CNI has of the pods of this machine.
type podFiles struct {
	dir    string
	bridge string
	exists func(path string) bool // of a network namespace

	read  map[string]pod // by file; a file does not change
	stamp time.Time      // of the directory when it was read
	again bool           // something was not complete
}

// list returns the pods. changed is false if it would return the same as before.
func (f *podFiles) list(force bool) (pods []pod, changed bool, err error) {
	looked := time.Now()
	info, err := os.Stat(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, f.read == nil, nil
	}
	if err != nil {
		return nil, false, err
	}
	if f.read != nil && !force && !f.again && info.ModTime().Equal(f.stamp) {
		return nil, false, nil
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, false, err
	}
	// A change within the same tick of the clock would not be seen.
	f.stamp, f.again = info.ModTime(), looked.Sub(info.ModTime()) < 100*time.Millisecond
	read := map[string]pod{}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "pai-") || !strings.HasSuffix(e.Name(), "-eth0") {
			continue
		}
		p, ok := f.read[e.Name()]
		if !ok {
			data, err := os.ReadFile(filepath.Join(f.dir, e.Name()))
			if err == nil {
				p, err = readPod(data, f.bridge)
			}
			if err != nil {
				f.again = true // it is being written, or the pod ends; until then the pod is not known
				continue
			}
		}
		read[e.Name()] = p
		// A file outlives a reboot, and the network of its pod does not.
		if f.exists(p.netns) {
			pods = append(pods, p)
		}
	}
	f.read = read
	return pods, true, nil
}
