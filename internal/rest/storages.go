package rest

import (
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// StorageInfo is a storage in a list, in the shape of OpenPAI.
type StorageInfo struct {
	Name string `json:"name"`
	// Share is false if each user has a directory in it.
	Share bool `json:"share"`
	// Volume is the claim that jobs mount.
	Volume  string `json:"volumeName"`
	Default bool   `json:"default"`
}

// StorageList are the storages that the caller can use.
type StorageList struct {
	Storages []StorageInfo `json:"storages"`
}

// StorageDetail is a storage, in the shape of OpenPAI.
type StorageDetail struct {
	StorageInfo
	// Type is one that clients of OpenPAI know: nfs, or unknown for a directory of machines.
	Type string `json:"type"`
	// Kind is nfs or directory.
	Kind         string        `json:"kind"`
	Data         StorageSource `json:"data"`
	ReadOnly     bool          `json:"readOnly"`
	MountOptions []string      `json:"mountOptions"`
}

// StorageSource is where a storage is.
type StorageSource struct {
	Server string `json:"server,omitempty"`
	Path   string `json:"path"`
}

func infoOfStorage(s pai.Storage) StorageInfo {
	return StorageInfo{Name: s.Name, Share: !s.PerUser, Volume: s.Claim, Default: s.Default}
}

func detailOfStorage(s pai.Storage) StorageDetail {
	d := StorageDetail{StorageInfo: infoOfStorage(s), Type: "unknown", Kind: s.Type, ReadOnly: s.ReadOnly, MountOptions: []string{},
		Data: StorageSource{Server: s.Server, Path: s.Path}}
	if s.Type == pai.StorageNFS {
		d.Type, d.MountOptions = s.Type, s.MountOptions()
	}
	return d
}

func (h *Handler) listStorages(_ http.ResponseWriter, req *http.Request) (any, error) {
	caller, err := callerOf(req.Context())
	if err != nil {
		return nil, err
	}
	answer := StorageList{[]StorageInfo{}}
	for _, s := range h.Storages {
		if (s.Default || req.URL.Query().Get("default") != "true") && canUseStorage(h.Policy, caller, s.Name) == nil {
			answer.Storages = append(answer.Storages, infoOfStorage(s))
		}
	}
	return answer, nil
}

// getStorage answers callers that can use a storage of the name; see permitFor.
func (h *Handler) getStorage(_ http.ResponseWriter, req *http.Request) (any, error) {
	name := chi.URLParam(req, "storage")
	i := slices.IndexFunc(h.Storages, func(s pai.Storage) bool { return s.Name == name })
	if i < 0 {
		return nil, noStorage(name)
	}
	return detailOfStorage(h.Storages[i]), nil
}

func canUseStorage(p identity.Policy, c Caller, name string) error {
	return p.Authorize(c, identity.Read, identity.Object{Kind: identity.Storage, Name: name})
}

// defaultStorages are those of the jobs of a caller that name none.
func (c *Core) defaultStorages(caller Caller) (names []string) {
	for _, s := range c.storages {
		if s.Default && canUseStorage(c.policy, caller, s.Name) == nil {
			names = append(names, s.Name)
		}
	}
	return names
}

// permitMounts refuses a job with a storage that does not exist, or that its user cannot
// use.
func (c *Core) permitMounts(caller Caller, mounts []job.Mount) error {
	for _, m := range mounts {
		if m.Storage == nil {
			return noStorage(m.Name)
		}
		if err := canUseStorage(c.policy, caller, m.Name); err != nil {
			return err
		}
	}
	return nil
}
