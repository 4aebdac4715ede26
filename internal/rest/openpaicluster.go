package rest

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/rest/openpai"
)

func (h *Handler) listVirtualClusters(_ http.ResponseWriter, req *http.Request) (any, error) {
	if req.URL.Query().Has("nodes") {
		return h.nodeUse(req)
	}
	return h.Cluster.VirtualClusters(req.Context())
}

// nodeUse is what the home page of the portal shows of the machines.
func (h *Handler) nodeUse(req *http.Request) (any, error) {
	nodes, err := h.Cluster.Nodes(req.Context())
	if err != nil {
		return nil, err
	}
	pods, err := h.Cluster.Pods(req.Context(), "", "")
	if err != nil {
		return nil, err
	}
	used := map[string]int64{}
	for _, p := range pods.Items {
		for _, c := range p.Spec.Containers {
			quantity := c.Resources.Limits[gpuResource]
			if p.Status.Phase == "Running" || p.Status.Phase == "Pending" {
				used[p.Spec.NodeName] += quantity.Value()
			}
		}
	}
	type use struct {
		Used      int64 `json:"gpuUsed"`
		Available int64 `json:"gpuAvailable"`
		Total     int64 `json:"gpuTotal"`
	}
	answer := map[string]use{}
	for _, n := range nodes.Items {
		quantity := n.Status.Allocatable[gpuResource]
		answer[n.Name] = use{used[n.Name], max(0, quantity.Value()-used[n.Name]), quantity.Value()}
	}
	return answer, nil
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

// skuTypes is empty: kinds of shares of machines belong to the HiveD scheduler.
func (h *Handler) skuTypes(_ http.ResponseWriter, req *http.Request) (any, error) {
	name := chi.URLParam(req, "vc")
	if name == "" {
		return map[string]openpai.SKU{}, nil
	}
	all, err := h.Cluster.VirtualClusters(req.Context())
	if err != nil {
		return nil, err
	}
	if _, found := all[name]; !found {
		return nil, noVirtualCluster(name)
	}
	return map[string]openpai.SKU{}, nil
}

// listStorages is empty until PAI has storages.
func (h *Handler) listStorages(http.ResponseWriter, *http.Request) (any, error) {
	return map[string][]struct{}{"storages": {}}, nil
}

func (h *Handler) getStorage(_ http.ResponseWriter, req *http.Request) (any, error) {
	return nil, noStorage(chi.URLParam(req, "storage"))
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
