package plan

import (
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// Backup plans a backup of a cluster.
func Backup(w World, name string) (Plan, error) {
	switch {
	case w.Current.Kubernetes == "":
		return Plan{}, pai.Errorf(pai.CodeRefused, "boot the cluster first; run: paictl cluster k8s-bootup", "there is no cluster to back up")
	case w.Current.Kubernetes.Less(newestKubernetes(w.Active(""))):
		return Plan{}, pai.Errorf(pai.CodeRefused, "finish the upgrade or roll it back, then back up; run: paictl upgrade status",
			"Kubernetes is between two versions, and a restore would start only one of them")
	}
	p := Plan{Verb: pai.VerbBackup, From: w.Current, To: w.Current, Hops: []Hop{}, Steps: []Step{
		{ID: StepID("backup/" + name), Kind: KindBackup, Phase: "backup", Risk: pai.RiskNone, To: pai.AnyVersion(w.Current.Kubernetes)},
	}}
	return p, p.Validate()
}

// ReleasesOf names the releases whose bundles a cluster with these versions needs.
func ReleasesOf(releases []release.Manifest, kubernetes pai.KubernetesVersion, services pai.ServicesVersion) []pai.Release {
	var names []pai.Release
	of := ""
	if services != "" {
		of = string(WithServices(releases, services))
	}
	for _, r := range releases {
		first := !slices.ContainsFunc(releases, func(o release.Manifest) bool {
			return o.Kubernetes.Version.Compare(kubernetes) == 0 && o.Metadata.Name.Less(r.Metadata.Name)
		})
		if r.Kubernetes.Version.Compare(kubernetes) == 0 && first || string(r.Metadata.Name) == of {
			names = append(names, r.Metadata.Name)
		}
	}
	return names
}

// Recovery is the backup that a restore starts from, and what of it the control-plane
// machine has.
type Recovery struct {
	Backup     string // name
	Kubernetes pai.KubernetesVersion
	Services   pai.ServicesVersion
	// Has is the backup that the machine was restored from, or is being restored from;
	// empty if there is none.
	Has string
	// Done is true if the restore from Has is complete.
	Done bool
	// Data says what of a cluster the machine has that does not come from Has; empty
	// for nothing.
	Data string
}

// Recover plans a restore of the control plane from a backup: Kubernetes is booted on
// the data of the backup, and the other machines, whose containers keep running, are
// admitted one by one.
func Recover(in Input) (Plan, error) {
	r, w := in.Recovery, in.World
	if err := w.refuseSeveral("a restore from a backup", "if the data of etcd are lost on all of them, set k8s-role: master for one machine in layout.yaml, restore, and then for the others"); err != nil {
		return Plan{}, err
	}
	if err := w.refuseBesideControlPlane(); err != nil {
		return Plan{}, err
	}
	p := Plan{Verb: pai.VerbRestore, From: w.Current, To: pai.Pair{Kubernetes: r.Kubernetes, Services: r.Services}, Hops: []Hop{}, Steps: []Step{}}
	var name string
	for _, m := range w.Machines {
		if m.ControlPlane {
			name = m.Name
			if m.Unreachable != "" {
				return Plan{}, pai.Errorf(pai.CodeFailed, "make the control-plane machine reachable, or name another machine in layout.yaml",
					"control-plane machine %s is unreachable: %s", m.Name, m.Unreachable)
			}
		}
	}
	switch {
	case r.Has == r.Backup && r.Done:
		return p, p.Validate()
	case r.Has != "" && r.Has != r.Backup && !r.Done:
		return Plan{}, pai.Errorf(pai.CodeRefused, "continue that restore with --backup "+r.Has,
			"machine %s is being restored from backup %s, not from %s", name, r.Has, r.Backup)
	case r.Has != r.Backup && r.Data != "":
		return Plan{}, pai.Errorf(pai.CodeRefused, "if this cluster is really lost, move its data to another place, or use another machine; "+
			"to delete a cluster with all its data and its jobs, run: paictl cluster k8s-clean --delete-data",
			"machine %s already has a control plane, which a restore would replace: %s", name, r.Data)
	}
	workers := map[string]bool{}
	for _, m := range w.Machines {
		workers[m.Name] = !m.ControlPlane
	}
	bundle := in.bundleOf(r.Kubernetes, in.BundleOfServices(r.Services, "").Release)
	if bundle.Release == "" {
		return Plan{}, pai.Errorf(pai.CodeRefused, "install the release that made the backup, or a newer one", "no known release has Kubernetes %s", r.Kubernetes)
	}
	steps, err := Kubernetes(w, r.Kubernetes, PinsOf(in.Releases), KubernetesOptions{Bundle: bundle, Stay: workers,
		Expected: in.Expected, Manifests: in.Manifests[r.Kubernetes.Label()], Again: true, Recover: true})
	if err != nil {
		return Plan{}, err
	}
	d := stepGraph{phase: "restore"}
	serving := StepID(fmt.Sprintf("kubernetes/%s/cluster/record", r.Kubernetes))
	admitted := []StepID{serving}
	for _, m := range w.Machines {
		if !m.ControlPlane {
			admitted = append(admitted, d.add(true, Step{ID: StepID("restore/machine/" + m.Name + "/admit"), Kind: KindAdmit, Target: m.Name,
				To: pai.AnyVersion(r.Kubernetes), Risk: pai.RiskNode}, serving))
		}
	}
	d.add(true, Step{ID: "restore/open", Kind: KindOpen, To: pai.AnyVersion(r.Kubernetes), Risk: pai.RiskAPI}, admitted...)
	p.Steps = append(steps, d.steps...)
	return p, p.Validate()
}

// refuseBesideControlPlane refuses a restore while a machine that the layout names as a worker
// runs etcd or an API server: it is one of several control-plane machines of a cluster that
// serves, and a restore beside it would be a second cluster with the same keys.
func (w World) refuseBesideControlPlane() error {
	for _, m := range w.Machines {
		if !m.ControlPlane && (m.runsEtcd() || m.runsAPIServer()) {
			return pai.Errorf(pai.CodeRefused, "set k8s-role: master for "+m.Name+" again in layout.yaml, and run: paictl cluster status",
				"%s runs a control plane, and the layout names it as a worker: a restore would make a second cluster", m.Name)
		}
	}
	return nil
}
