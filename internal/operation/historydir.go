package operation

import (
	"context"
	"fmt"
	"path"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

// historyDir is where the history is on its machine.
var historyDir = path.Join(run.Dir, historyVolume)

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
		if err := before(ctx, client); err != nil || !o.hasHistoryDir(services) {
			return err
		}
		m, host, err := o.historyHost()
		if err != nil {
			return err
		}
		if err := cluster.OwnDirectory(ctx, host, historyDir, historyUser); err != nil {
			return fmt.Errorf("make %s on machine %s: %w", historyDir, m, err)
		}
		return nil
	}
}

// historyIsThere reports whether the directory is as withHistory makes it. After the disk
// was lost, the kubelet makes one that the server cannot write to.
func (o *operation) historyIsThere(services pai.ServicesVersion) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		if !o.hasHistoryDir(services) {
			return true, nil
		}
		m, host, err := o.historyHost()
		if err != nil {
			return false, err
		}
		owned, err := cluster.OwnsDirectory(ctx, host, historyDir, historyUser)
		if err != nil {
			return false, fmt.Errorf("look at %s on machine %s: %w", historyDir, m, err)
		}
		return owned, nil
	}
}

func (o *operation) hasHistoryDir(services pai.ServicesVersion) bool {
	return services.AtLeast(historySince) && o.Config.Services.RestServer.HistoryDatabase == "sqlite"
}

func (o *operation) historyHost() (name string, host machine.Host, err error) {
	name = o.Config.ControlPlane().Hostname // the REST server is pinned to it
	if host = o.Hosts[name]; host == nil {
		return name, nil, pai.Errorf(pai.CodeFailed, "check that the machine runs, then run the same command again",
			"machine %s is unreachable: it has the history of jobs", name)
	}
	return name, host, nil
}
