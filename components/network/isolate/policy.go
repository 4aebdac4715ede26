package isolate

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Config is the part "Tasks" of the configuration of the network program.
type Config struct {
	// Services is the range of the addresses of services, DNS that of the name server.
	Services netip.Prefix `json:"services"`
	DNS      netip.Addr   `json:"dns"`
	Policy
}

// Policy is what tasks reach besides DNS and the other tasks of their job. A task keeps
// what it started with.
type Policy struct {
	// Networks are outside of the cluster. The machines, pods, and services are never
	// part of them.
	Networks []netip.Prefix `json:"networks"`
	// Ports are open wherever they are: on machines, or of services.
	Ports []Port `json:"ports,omitempty"`
}

// Port is a range of ports at the addresses that a client connects to.
type Port struct {
	To       netip.Prefix `json:"to"`
	Protocol string       `json:"protocol"` // tcp or udp
	First    uint16       `json:"first"`
	Last     uint16       `json:"last"`
}

// ReadConfig reads the part "Tasks" of a configuration. It is nil without one: then
// nothing is isolated.
func ReadConfig(data []byte) (*Config, error) {
	var file struct {
		Tasks *Config `json:"Tasks"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	if file.Tasks == nil {
		return nil, nil
	}
	return file.Tasks, file.Tasks.check()
}

func (c *Config) check() error {
	if !isRange(c.Services) || !c.DNS.Is4() {
		return errors.New("the range of services and the address of DNS must be IPv4")
	}
	return c.Policy.check()
}

func (p Policy) check() error {
	if i := slices.IndexFunc(p.Networks, func(n netip.Prefix) bool { return !isRange(n) }); i >= 0 {
		return fmt.Errorf("%s is not a range of IPv4 addresses", p.Networks[i])
	}
	for _, port := range p.Ports {
		if !isRange(port.To) || port.Protocol != "tcp" && port.Protocol != "udp" || port.First == 0 || port.First > port.Last {
			return fmt.Errorf("ports %d to %d of %s with protocol %q cannot be open", port.First, port.Last, port.To, port.Protocol)
		}
	}
	return nil
}

// isRange reports whether a prefix is a range of IPv4 addresses.
func isRange(p netip.Prefix) bool { return p.IsValid() && p.Addr().Is4() && p == p.Masked() }

// key is the same for equal policies.
func (p Policy) key() string {
	data, err := json.Marshal(p)
	if err != nil {
		panic(err) // a struct of addresses and numbers
	}
	return string(data)
}
