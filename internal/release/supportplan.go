package release

import "pai.dev/pai/internal/pai"

// Row is one row of the support plan.
type Row struct {
	Release    pai.Release   `json:"release"`
	Services   ServicesRow   `json:"services"`
	Kubernetes KubernetesRow `json:"kubernetes"`
}

// Rows is the support plan: a row per release, newest first. manifests have the
// order of Load.
func Rows(manifests []Manifest) []Row {
	rows := make([]Row, 0, len(manifests))
	for i := len(manifests) - 1; i >= 0; i-- {
		m := manifests[i]
		rows = append(rows, Row{Release: m.Metadata.Name, Services: m.Services, Kubernetes: m.Kubernetes})
	}
	return rows
}
