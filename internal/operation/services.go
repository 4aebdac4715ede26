package operation

import (
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// ServiceRow is one service as status shows it.
type ServiceRow struct {
	Name      string              `json:"name"`
	Release   pai.ServicesVersion `json:"release"`
	JobImpact pai.JobImpact       `json:"jobImpact"`
	Installed bool                `json:"installed"`
	Ready     bool                `json:"ready"`
	Message   string              `json:"message,omitempty"`
	// Addresses are where browsers reach the portal, on any machine.
	Addresses []string `json:"addresses,omitempty"`
}

// PortalService is the name of the service that people open in a browser.
const PortalService = "portal"

// ServiceRows lists the services of the release of the configuration, or the named
// ones, with their observed state.
func ServiceRows(s *session.Session, w plan.World, names []string) ([]ServiceRow, error) {
	b, err := s.Bundle(s.Config.Release())
	if err != nil {
		return nil, err
	}
	services, err := catalog(b)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	var rows []ServiceRow
	for _, sv := range services {
		if len(names) > 0 && !wanted[sv.Name] {
			continue
		}
		delete(wanted, sv.Name)
		in, ok := w.Services[sv.Name]
		row := ServiceRow{Name: sv.Name, Release: in.Release, JobImpact: sv.Impact, Installed: ok, Ready: ok && in.Ready, Message: in.Message}
		if ok && sv.Name == PortalService {
			row.Addresses = s.Portal().URLs()
		}
		rows = append(rows, row)
	}
	for n := range wanted {
		return nil, pai.Errorf(pai.CodeUsage, "list the services; run: paictl service status", "service %q not found", n)
	}
	return rows, nil
}
