package rest

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/rest/openpai"
)

func (h *Handler) listVirtualClusters(_ http.ResponseWriter, req *http.Request) (any, error) {
	if req.URL.Query().Has("nodes") {
		return h.Cluster.NodeUse(req.Context()) // for the home page of the portal
	}
	return h.Cluster.VirtualClusters(req.Context())
}

func (h *Handler) getVirtualCluster(_ http.ResponseWriter, req *http.Request) (any, error) {
	name := chi.URLParam(req, "vc")
	all, err := h.Cluster.VirtualClusters(req.Context())
	if err != nil {
		return nil, err
	}
	vc, found := all[name]
	if !found {
		return nil, noVirtualCluster(name)
	}
	return vc, nil
}

// skuTypes are the kinds of machines that skuType of a job can name.
func (h *Handler) skuTypes(_ http.ResponseWriter, req *http.Request) (any, error) {
	if name := chi.URLParam(req, "vc"); name != "" {
		all, err := h.Cluster.VirtualClusters(req.Context())
		if err != nil {
			return nil, err
		}
		if _, found := all[name]; !found {
			return nil, noVirtualCluster(name)
		}
	}
	kinds, err := h.Cluster.Kinds(req.Context())
	if err != nil {
		return nil, err
	}
	skus := map[string]openpai.SKU{}
	for _, k := range kinds {
		skus[k.Name] = skuOf(k)
	}
	return skus, nil
}

// skuOf is the share of a machine that belongs to one of its GPUs, or a whole machine
// without GPUs. Of machines that differ, it is the smallest.
func skuOf(k job.Kind) openpai.SKU {
	var smallest openpai.SKU
	for i, m := range k.Machines {
		share := openpai.SKU{CPU: m.CPUMilli / 1000, Memory: m.MemoryMB}
		if m.GPU > 0 {
			share = openpai.SKU{GPU: 1, CPU: m.CPUMilli / 1000 / m.GPU, Memory: m.MemoryMB / m.GPU}
		}
		if i == 0 {
			smallest = share
		}
		smallest = openpai.SKU{GPU: min(smallest.GPU, share.GPU), CPU: min(smallest.CPU, share.CPU), Memory: min(smallest.Memory, share.Memory)}
	}
	return smallest
}

func (h *Handler) nodes(_ http.ResponseWriter, req *http.Request) (any, error) {
	return h.Cluster.Nodes(req.Context())
}

func (h *Handler) pods(_ http.ResponseWriter, req *http.Request) (any, error) {
	q := req.URL.Query()
	return h.Cluster.Pods(req.Context(), q.Get("namespace"), q.Get("labelSelector"))
}

// noAlerts is empty until PAI has an Alertmanager.
func noAlerts(http.ResponseWriter, *http.Request) (any, error) { return []struct{}{}, nil }
