package cli

import (
	"os"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// offline plans from a directory of release manifests, without a cluster.
type offline struct {
	releases                     string
	fromServices, fromKubernetes string
}

func addOffline(cmd *cobra.Command) *offline {
	o := &offline{}
	cmd.Flags().StringVar(&o.releases, "releases", "", "directory of releases (DIR/*/release.yaml) to plan from, without a cluster")
	cmd.Flags().StringVar(&o.fromServices, "from-services", "", "with --releases: version of the services to start from")
	cmd.Flags().StringVar(&o.fromKubernetes, "from-kubernetes", "", "with --releases: version of Kubernetes to start from")
	cmd.MarkFlagsRequiredTogether("releases", "from-services", "from-kubernetes")
	return o
}

func (o *offline) given() bool { return o.releases != "" }

func (o *offline) run(env *Env, target plan.Target) error {
	known, err := release.LoadRows(os.DirFS(o.releases))
	if err != nil {
		return err
	}
	if err := pai.CheckVersion(o.fromServices); err != nil {
		return pai.Errorf(pai.CodeUsage, "pass a version such as v0.9 to --from-services", "%w", err)
	}
	if err := pai.CheckVersion(o.fromKubernetes); err != nil {
		return pai.Errorf(pai.CodeUsage, "pass a version such as v0.9-pai to --from-kubernetes", "%w", err)
	}
	if target.Release == "" {
		target.Release = known[len(known)-1].Metadata.Name
	}
	list, err := plan.Offline(known, pai.Pair{Services: pai.ServicesVersion(o.fromServices), Kubernetes: pai.KubernetesVersion(o.fromKubernetes)}, target)
	if err != nil {
		return err
	}
	return env.Show(list, func(p *ui.Page) {
		if len(list.Hops) == 0 {
			p.Linef("nothing to do")
		}
		for _, h := range list.Hops {
			p.Linef("%s %s → %s", h.Kind, h.From, h.To)
		}
		for _, n := range list.Notes {
			p.Linef("note: %s", n)
		}
	})
}
