package rest

import (
	"encoding/json"
	"maps"
	"net/http"

	"github.com/go-chi/chi/v5"
)

// groupBody is a group in a request; its rights are in the extension.
type groupBody struct {
	Name         string                     `json:"groupname" api:"group"`
	Description  *string                    `json:"description"`
	ExternalName *string                    `json:"externalName"`
	Extension    map[string]json.RawMessage `json:"extension"`
}

func (b groupBody) change(patch bool) (GroupChange, error) {
	c := GroupChange{Description: b.Description, ExternalName: b.ExternalName, Replace: !patch}
	if text, ok := b.Extension[aclsKey]; ok {
		c.Rights = &RightsChange{}
		if err := json.Unmarshal(text, c.Rights); err != nil {
			return c, invalidParameters("extension.acls is not valid")
		}
	}
	if b.Extension != nil {
		c.Extension = maps.Clone(b.Extension)
		delete(c.Extension, aclsKey)
	}
	return c, nil
}

func (h *Handler) listGroups(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	return a.Groups(req.Context())
}

func (h *Handler) getGroup(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	return a.Group(req.Context(), chi.URLParam(req, "group"))
}

func (h *Handler) listMembers(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	return a.Members(req.Context(), chi.URLParam(req, "group"))
}

func (h *Handler) createGroup(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	var body groupBody
	if err := readJSON(req, &body); err != nil {
		return nil, err
	}
	c, err := body.change(true)
	if err != nil {
		return nil, err
	}
	_, err = a.CreateGroup(req.Context(), body.Name, c)
	return message{"group is created successfully"}, err
}

func (h *Handler) updateGroup(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	var body changeBody[groupBody]
	if err := readJSON(req, &body); err != nil {
		return nil, err
	}
	c, err := body.Data.change(body.Patch)
	if err != nil {
		return nil, err
	}
	_, err = a.UpdateGroup(req.Context(), body.Data.Name, c)
	return message{"update group " + body.Data.Name + " successfully."}, err
}

func (h *Handler) deleteGroup(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	return message{"group is removed successfully"}, a.DeleteGroup(req.Context(), chi.URLParam(req, "group"))
}
