package operation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/service"
	"pai.dev/pai/internal/session"
)

// MachineCertificates are the certificates of a machine.
type MachineCertificates struct {
	Machine      string              `json:"machine"`
	Certificates []certs.Certificate `json:"certificates"`
	Renewed      []string            `json:"renewed,omitempty"` // files
	// Problems are what could not be read or renewed.
	Problems []string `json:"problems,omitempty"`
}

const (
	parallelRenewals = 10
	// renewTimeout limits the renewal on one machine, which waits for the API there.
	renewTimeout = 5 * time.Minute
)

// Certificates returns the certificates of all machines, in their order.
func Certificates(ctx context.Context, s *session.Session) ([]MachineCertificates, error) {
	off, err := OffForMaintenance(ctx, s)
	if err != nil {
		return nil, err
	}
	results, err := eachMachine(ctx, s, off, func(ctx context.Context, h machine.Host) (inspect.Report, error) {
		return helper.Parts(ctx, h, inspect.Certificates)
	})
	return withSecrets(ctx, s, results), err
}

// withSecrets adds the certificates in Secrets to those of the control-plane machine, which
// renews them. While the API server is unavailable, the others are shown.
func withSecrets(ctx context.Context, s *session.Session, results []MachineCertificates) []MachineCertificates {
	control := s.Seed().Hostname
	for i := range results {
		if results[i].Machine != control {
			continue
		}
		client, err := s.Kube(ctx)
		if err == nil {
			var found []certs.Certificate
			var problems []string
			found, problems, err = service.SecretCertificates(ctx, client, time.Now())
			results[i].Certificates = append(results[i].Certificates, found...)
			results[i].Problems = append(results[i].Problems, problems...)
		}
		if err != nil {
			results[i].Problems = append(results[i].Problems, "certificates in Secrets are not listed: "+err.Error())
		}
	}
	return results
}

// RenewCertificates renews all certificates of all machines that PAI renews. It holds
// the lock of the cluster, so that no step replaces a program meanwhile. The control
// plane comes first: it approves what the others ask for. No job notices.
func RenewCertificates(ctx context.Context, s *session.Session) (results []MachineCertificates, err error) {
	err = s.Locked(ctx, pai.VerbRenewCertificates, run.LockOptions{Notify: s.Progressf}, func(ctx context.Context, _ *run.Lock) (err error) {
		off, err := OffForMaintenance(ctx, s)
		if err == nil {
			results, err = renewAll(ctx, s, off, inspect.RenewAll)
			results = withSecrets(ctx, s, results)
		}
		return err
	})
	return results, err
}

func renewAll(ctx context.Context, s *session.Session, left map[string]bool, which inspect.Renewal) ([]MachineCertificates, error) {
	control := s.Seed().Hostname
	var first inspect.Report
	var failed error
	if h := s.Hosts[control]; h != nil {
		first, failed = cluster.RenewCertificates(ctx, h, which)
	}
	return eachMachine(ctx, s, left, func(ctx context.Context, h machine.Host) (inspect.Report, error) {
		if h.Name() == control {
			return first, failed
		}
		return cluster.RenewCertificates(ctx, h, which)
	})
}

// eachMachine asks all machines, except those that are left for their maintenance. The
// result has each of them, also with an error.
func eachMachine(ctx context.Context, s *session.Session, left map[string]bool, ask func(context.Context, machine.Host) (inspect.Report, error)) ([]MachineCertificates, error) {
	results := make([]MachineCertificates, len(s.Config.Layout.MachineList))
	failed := make([]error, len(results))
	var group errgroup.Group
	group.SetLimit(parallelRenewals)
	for n, m := range s.Config.Layout.MachineList {
		group.Go(func() error {
			results[n] = MachineCertificates{Machine: m.Hostname, Certificates: []certs.Certificate{}}
			h := s.Hosts[m.Hostname]
			if left[m.Hostname] {
				results[n].Problems = []string{leftForMaintenance}
				return nil
			}
			if h == nil {
				failed[n] = fmt.Errorf("machine %q is unreachable", m.Hostname)
				results[n].Problems = []string{"the machine is unreachable"}
				return nil
			}
			ctx, cancel := context.WithTimeoutCause(ctx, renewTimeout, fmt.Errorf("no answer within %s", renewTimeout))
			defer cancel()
			report, err := ask(ctx, h)
			results[n].Certificates, results[n].Renewed = append(results[n].Certificates, report.Certificates...), report.Renewed
			for _, what := range slices.Sorted(maps.Keys(report.Problems)) {
				results[n].Problems = append(results[n].Problems, report.Problems[what])
			}
			if err != nil {
				failed[n] = fmt.Errorf("machine %q: %w", m.Hostname, err)
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in failed
	if err := errors.Join(failed...); err != nil {
		return results, pai.Errorf(pai.CodeFailed, "fix what the message names; if the identity of a kubelet ended, run: paictl cluster k8s-bootup", "%w", err)
	}
	return results, nil
}

// renewDue renews the certificates that are due on all machines, before the steps. It
// is no step: it leads to no version, and a plan would change by the hour. A failure
// does not end the operation: the check "certificates" refuses what would not last.
// A machine in maintenance is left as it is, also if it is on, unless the goal is about it
// and not its removal, which deletes its certificates.
func (o *operation) renewDue(ctx context.Context) error {
	if o.goal.Verb() == pai.VerbClean || o.preview.world.Current.Kubernetes == "" {
		return nil
	}
	left := map[string]bool{}
	for _, m := range o.preview.world.Machines {
		returns := m.Name == machineOf(o.goal) && o.goal.Verb() != pai.VerbRemove && o.Hosts[m.Name] != nil
		left[m.Name] = m.Maintenance != nil && !returns
	}
	results, err := renewAll(ctx, o.Session, left, inspect.RenewDue)
	if err != nil {
		o.log.Warn("certificates were not renewed", "error", err)
	}
	var once sync.Once
	for _, r := range results {
		if len(r.Renewed) > 0 {
			once.Do(func() { o.Progressf("renewing certificates that have less than a third of their life left") })
			o.log.Info("renewed certificates", "machine", r.Machine, "files", r.Renewed)
		}
	}
	return nil
}
