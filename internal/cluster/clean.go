package cluster

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// cleanDone reports whether nothing of Kubernetes runs or starts on a machine,
// and no container is left. With Wipe, no data of PAI is left either.
func (c *cluster) cleanDone(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) (bool, error) {
	functions, err := removeFunctions(s)
	if err != nil {
		return false, err
	}
	wiped := ""
	if s.Wipe {
		wiped = `wiped | while read -r path; do removed "$path" || echo "$path"; done`
	}
	out, err := sh(ctx, h, "%s", functions+`
listed `+layout.RolesDir+`
written
ip -4 -o address show dev lo label `+layout.APIAddressLabel+` 2>/dev/null || :
ls -d /proc/[0-9]*/exe 2>/dev/null | while read -r exe; do
    case $(readlink "$exe") in `+layout.ProgramsDir+`/*/bin/*) echo "$exe" ;; esac
done
`+wiped)
	return out == "", err
}

// clean removes Kubernetes from a machine: its units, its containers, and their
// kernel settings. Without Wipe, the identity of the cluster stays: the data of
// etcd, the certificates, the encryption key, the identity of the kubelet, and
// the programs and images. Disks, links, and files that PAI did not make stay.
func (c *cluster) clean(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) error {
	if s.Wipe && s.Keep == nil {
		return pai.Errorf(pai.CodeFailed, "run the same command again",
			"the files on %q that PAI did not write are unknown, so its data cannot be deleted", h.Name())
	}
	functions, err := removeFunctions(s)
	if err != nil {
		return err
	}
	wipe := ""
	if s.Wipe {
		wipe = "1"
	}
	if err := runEmbedded(ctx, h, "wipe="+wipe+"\n"+functions, "scripts/clean.sh"); err != nil {
		return fmt.Errorf("remove Kubernetes from %q: %w", h.Name(), err)
	}
	if !s.Wipe {
		return nil
	}
	if err := runEmbedded(ctx, h, functions, "scripts/wipe.sh"); err != nil {
		return fmt.Errorf("remove the PAI data from %q: %w", h.Name(), err)
	}
	return nil
}

func runEmbedded(ctx context.Context, h machine.Host, before, name string) error {
	script, err := embedded.ReadFile(name)
	if err == nil {
		_, err = h.Run(ctx, machine.Command{Script: before + string(script)})
	}
	return err
}
