package plan

import (
	"fmt"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// programs gives a release its pins.
func programs(r release.Manifest, pins ...string) release.Manifest {
	for i := 0; i+1 < len(pins); i += 2 {
		r.Programs = append(r.Programs, release.Program{Name: pins[i], Version: pins[i+1]})
	}
	return r
}

// twoReleases is the guide's support plan: containerd, runc and the CNI plugins
// are the same in both, etcd is not.
func twoReleases() []release.Manifest {
	shared := []string{"containerd", "v2.2.3", "runc", "v1.4.3", "cni", "v1.9.1", "api-proxy", "v1", "network", "v1"}
	nine := programs(row("v0.9", "v0.9", "v0.9-pai", "v1.35.4", "v0.9-pai", "v0.9-pai"), append(shared, "etcd", "v3.6.8")...)
	ten := programs(row("v0.10", "v0.9", "v0.10-pai", "v1.36.3", "v0.10-pai", "v0.9-pai"), append(shared, "etcd", "v3.6.16")...)
	ten.Migrations = []release.Migration{{Name: "users-by-entry", After: "rest-server", Reversible: true}}
	return []release.Manifest{nine, ten}
}

// manyReleases goes up one upstream minor per release; containerd changes with
// every second one.
func manyReleases(n int) []release.Manifest {
	var rows []release.Manifest
	for i := range n {
		before := version(max(1, i))
		rows = append(rows, programs(row(version(i+1), before, version(i+1)+"-pai", fmt.Sprintf("v1.%d.0", 30+i), before+"-pai", before+"-pai"),
			"containerd", fmt.Sprintf("v2.%d.0", i/2), "runc", "v1.4.3", "cni", "v1.9.1", "etcd", fmt.Sprintf("v3.6.%d", i), "api-proxy", "v1", "network", "v1"))
	}
	return rows
}

func someServices() map[pai.ServicesVersion][]ServiceSpec {
	nine := []ServiceSpec{
		{Name: "kueue", Impact: pai.ImpactSubmission},
		{Name: "jobset", Prerequisites: []string{"kueue"}, Impact: pai.ImpactSubmission},
		{Name: "rest-server", Prerequisites: []string{"jobset"}, Impact: pai.ImpactSubmission},
		{Name: "storage", Impact: pai.ImpactDataPath},
		{Name: "old-exporter", Impact: pai.ImpactNone},
	}
	ten := []ServiceSpec{
		{Name: "rest-server", Prerequisites: []string{"jobset"}, Impact: pai.ImpactSubmission},
		{Name: "jobset", Prerequisites: []string{"kueue"}, Impact: pai.ImpactSubmission},
		{Name: "kueue", Impact: pai.ImpactSubmission},
		{Name: "storage", Impact: pai.ImpactDataPath},
		{Name: "prometheus", Impact: pai.ImpactNone},
	}
	all := map[pai.ServicesVersion][]ServiceSpec{"v0.9": nine, "v0.10": ten}
	for i := 3; i < 10; i++ {
		all[pai.ServicesVersion(version(i))] = ten
	}
	return all
}

func digestsOf(releases []release.Manifest) map[pai.Release]string {
	digests := map[pai.Release]string{}
	for _, r := range releases {
		digests[r.Metadata.Name] = "sha256:" + string(r.Metadata.Name)
	}
	return digests
}

// bare returns machines before their first preparation; the first is the
// control-plane machine.
func bare(names ...string) World {
	w := World{Services: map[string]Installed{}}
	for i, n := range names {
		w.Machines = append(w.Machines, MachineState{Name: n, Address: fmt.Sprintf("10.0.0.%d", i+1), ControlPlane: i == 0})
	}
	return w
}

// input adds to a World what else planning needs.
func input(w World, releases []release.Manifest) Input {
	services := someServices()
	for _, r := range releases {
		if services[r.Services.Version] == nil {
			services[r.Services.Version] = services["v0.10"]
		}
	}
	return Input{World: w, Releases: releases, Services: services, Digests: digestsOf(releases)}
}

// running are machines that run the pair of a release, as booting and starting
// it leaves them.
func running(releases []release.Manifest, name pai.Release, machines ...string) Input {
	in := input(bare(machines...), releases)
	row, err := findRelease(releases, name)
	if err != nil {
		panic(err)
	}
	boot, err := Boot(in, pairOf(row))
	if err != nil {
		panic(err)
	}
	in.World = in.After(in.World, boot.Steps)
	in.World.APIReachable = true
	for i := range in.World.Machines {
		in.World.Machines[i].Node = &Node{Ready: true}
	}
	for _, r := range releases {
		for _, m := range r.Migrations {
			if row.Services.Version.Less(r.Services.Version) {
				in.World.Unmigrated = append(in.World.Unmigrated, m.Name)
			}
		}
	}
	start, err := Start(in, name, Choice{})
	if err != nil {
		panic(err)
	}
	in.World = in.After(in.World, start.Steps)
	return in
}
