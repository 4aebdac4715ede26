package config_test

import (
	"fmt"

	"pai.dev/pai/internal/config"
)

// small is a configuration that names only what has no default.
func small() map[string][]byte {
	return map[string][]byte{
		"layout.yaml": []byte(`schema-version: 2
machine-sku:
  NC24R: {mem: 224, cpu: {vcore: 24}, gpu: {type: teslak80, count: 4}}
machine-list:
  - {hostname: gpu-01, hostip: 192.168.10.1, machine-type: NC24R, k8s-role: master}
`),
		"kubernetes-configuration.yaml": []byte("kubernetes: {version: v0.10-pai}\n"),
		"services-configuration.yaml": []byte(`cluster:
  common:
    cluster-id: lab
    release: v0.10
    trusted-bundle-keys: [11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=]
`),
	}
}

// Every key that is left out has its default.
func ExampleFromFiles() {
	c, report := config.FromFiles("lab", small())
	fmt.Println(len(report.Problems), "problems")
	fmt.Println(c.Pair())
	fmt.Println(c.Layout.MachineList[0].Hostname, c.Layout.MachineList[0].SSHPort)
	// Output:
	// 0 problems
	// services v0.10 on Kubernetes v0.10-pai
	// gpu-01 22
}

// Problems are reported all at once, each with its place.
func ExampleFromFiles_problems() {
	files := small()
	files["layout.yaml"] = append(files["layout.yaml"], "  - {hostname: gpu-01, hostip: 192.168.10.300, machine-type: NC24R, k8s-role: worker}\n"...)
	files["kubernetes-configuration.yaml"] = []byte("kubernetes: {version: v0.10-pai, cluster-dsn: 10.96.0.10}\n")
	_, report := config.FromFiles("lab", files)
	for _, p := range report.Problems {
		fmt.Println(p)
	}
	// Output:
	// lab/layout.yaml:6:16: hostname: "gpu-01" is also the name of the machine on line 5
	// lab/layout.yaml:6:32: hostip: "192.168.10.300" is not an IP address
	// lab/kubernetes-configuration.yaml:1:34: unknown key "cluster-dsn"; did you mean "cluster-dns"?
}
