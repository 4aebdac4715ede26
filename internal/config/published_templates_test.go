package config

import (
	"strings"
	"testing"
	"text/template"

	"pai.dev/pai/internal/pai"
)

// The service templates in the bundles of v0.9 and v0.10 use these fields and
// methods. A rename here would break the services of a published release.
func TestConfigKeepsNamesOfPublishedTemplates(t *testing.T) {
	t.Parallel()
	c := New("lab", pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}, []Machine{{Hostname: "gpu-01", HostIP: "10.0.0.1", Role: RoleControlPlane}}, nil)
	for expression, want := range map[string]string{
		".Master.Hostname":                                     "gpu-01",
		".Services.Prometheus.Port":                            "9091",
		".Services.Prometheus.ScrapeInterval":                  "30",
		".Services.NodeExporter.Port":                          "9100",
		".Services.RestServer.ServerPort":                      "9186",
		"(index .Services.VirtualClusters `default`).CPU":      "0",
		"(index .Services.VirtualClusters `default`).MemoryMB": "0",
		"(index .Services.VirtualClusters `default`).GPU":      "0",
	} {
		var out strings.Builder
		if err := template.Must(template.New("").Parse("{{"+expression+"}}")).Execute(&out, &c); err != nil || out.String() != want {
			t.Errorf("%s: got %q, %v, want %q", expression, out.String(), err, want)
		}
	}
}
