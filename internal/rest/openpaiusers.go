package rest

import (
	"encoding/json"
	"net/http"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/identity"
)

// userBody is a user in a request.
type userBody struct {
	Username        string                     `json:"username" api:"user"`
	Password        *string                    `json:"password" api:"password"`
	NewPassword     *string                    `json:"newPassword" api:"password"`
	OldPassword     *string                    `json:"oldPassword"`
	Email           *string                    `json:"email"`
	Admin           *bool                      `json:"admin"`
	VirtualClusters *[]string                  `json:"virtualCluster"`
	Groups          *[]string                  `json:"grouplist"`
	Extension       map[string]json.RawMessage `json:"extension"`
}

// changeBody is a change in a request. Without patch, a client gives all values; those
// that it omits stay nevertheless, because no client wants a user without a password.
type changeBody[T any] struct {
	Data  T    `json:"data"`
	Patch bool `json:"patch"`
}

func (b userBody) change(patch bool) UserChange {
	return UserChange{Email: b.Email, Password: b.Password, Admin: b.Admin, VirtualClusters: b.VirtualClusters, Groups: b.Groups,
		Extension: b.Extension, Replace: !patch}
}

// visibleTo removes from a user what only the user and administrators see.
func (u UserInfo) visibleTo(c Caller) UserInfo {
	if c.Admin || c.Name == u.Username {
		return u
	}
	return UserInfo{Username: u.Username, Admin: u.Admin, VirtualClusters: []string{}, Storages: []string{}, Groups: []string{}, Extension: map[string]json.RawMessage{}}
}

func (h *Handler) listUsers(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	caller, err := callerOf(req.Context())
	if err != nil {
		return nil, err
	}
	users, err := a.List(req.Context())
	for i, u := range users {
		users[i] = u.visibleTo(caller)
	}
	return users, err
}

func (h *Handler) getUser(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	caller, err := callerOf(req.Context())
	if err != nil {
		return nil, err
	}
	u, err := a.Get(req.Context(), chi.URLParam(req, "user"))
	return u.visibleTo(caller), err
}

func (h *Handler) createUser(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	var body userBody
	if err := readJSON(req, &body); err != nil {
		return nil, err
	}
	if body.Password == nil {
		return nil, invalidParameters("a password is required")
	}
	_, err = a.Create(req.Context(), body.Username, body.change(true))
	return message{"User is created successfully"}, err
}

func (h *Handler) updateUser(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	var body changeBody[userBody]
	if err := readJSON(req, &body); err != nil {
		return nil, err
	}
	_, err = a.Update(req.Context(), body.Data.Username, body.Data.change(body.Patch))
	return message{"Update user " + body.Data.Username + " successfully."}, err
}

// updateProfile changes what users decide themselves: no rights.
func (h *Handler) updateProfile(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	var body changeBody[userBody]
	if err := readJSON(req, &body); err != nil {
		return nil, err
	}
	name := body.Data.Username
	if err := h.authorize(req, identity.Update, identity.Object{Kind: identity.Profile, Name: name, Owner: name}); err != nil {
		return nil, err
	}
	change := UserChange{Email: body.Data.Email, Extension: body.Data.Extension, Replace: !body.Patch}
	if body.Data.NewPassword != nil {
		if body.Data.OldPassword == nil {
			return nil, asBadRequest(wrongPassword())
		}
		if change.replaces, err = h.Logins.CheckPassword(req.Context(), name, *body.Data.OldPassword); err != nil {
			return nil, asBadRequest(err)
		}
		if *body.Data.NewPassword != *body.Data.OldPassword {
			change.Password = body.Data.NewPassword
		}
	}
	_, err = a.Update(req.Context(), name, change)
	return message{"Update user " + name + " successfully."}, asBadRequest(err)
}

func (h *Handler) deleteUser(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	return message{"user is removed successfully"}, a.Delete(req.Context(), chi.URLParam(req, "user"))
}

func (h *Handler) addToGroup(_ http.ResponseWriter, req *http.Request) (any, error) {
	user, group, err := h.membership(req, true)
	return message{"User " + user + " is added into group " + group}, err
}

func (h *Handler) removeFromGroup(_ http.ResponseWriter, req *http.Request) (any, error) {
	user, group, err := h.membership(req, false)
	return message{"User " + user + " is removed from group " + group}, err
}

type membershipBody struct {
	Group string `json:"groupname" api:"group"`
}

func (h *Handler) membership(req *http.Request, add bool) (user, group string, err error) {
	a, err := h.accounts()
	if err != nil {
		return "", "", err
	}
	var body membershipBody
	if err := readJSON(req, &body); err != nil {
		return "", "", err
	}
	user = chi.URLParam(req, "user")
	return user, body.Group, a.AddToGroup(req.Context(), user, body.Group, add)
}

type groupListBody struct {
	Groups *[]string `json:"grouplist"`
}

func (h *Handler) setGroups(_ http.ResponseWriter, req *http.Request) (any, error) {
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	var body groupListBody
	if err := readJSON(req, &body); err != nil {
		return nil, err
	}
	if body.Groups == nil {
		return nil, invalidParameters("a grouplist is required")
	}
	_, err = a.Update(req.Context(), chi.URLParam(req, "user"), UserChange{Groups: body.Groups})
	return message{"update user grouplist successfully."}, err
}
