package operation

import (
	"context"
	"fmt"
	"path"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

const (
	// historyVolume is the volume of the REST server.
	historyVolume = "rest-server"
	// historyUser is the user of the REST server in its pods, which has no rights on a
	// machine: the chart has the same.
	historyUser = 65532
	// historySince is the first release with a history. A rollback to an older one leaves
	// the directory as it is.
	historySince = pai.ServicesVersion("v0.11")
)

// withHistory is what must exist before the REST server of a release: besides before, the
// directory of its history. A pod cannot make it without the rights of root.
func (o *operation) withHistory(services pai.ServicesVersion, before func(context.Context, *kube.Client) error) func(context.Context, *kube.Client) error {
	return func(ctx context.Context, client *kube.Client) error {
		if err := before(ctx, client); err != nil || !services.AtLeast(historySince) || o.Config.Services.RestServer.HistoryDatabase != "sqlite" {
			return err
		}
		m := o.Config.ControlPlane()
		host := o.Hosts[m.Hostname]
		if host == nil {
			return pai.Errorf(pai.CodeFailed, "check that the machine runs, then run the same command again",
				"machine %s is unreachable: it has the history of jobs", m.Hostname)
		}
		dir := path.Join(run.Dir, historyVolume)
		if err := cluster.OwnDirectory(ctx, host, dir, historyUser); err != nil {
			return fmt.Errorf("make %s on machine %s: %w", dir, m.Hostname, err)
		}
		return nil
	}
}
