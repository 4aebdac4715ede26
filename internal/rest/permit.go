package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/identity"
)

// permit is what the caller of a request was allowed when it began. The server knows
// callers from a copy of the users that can be some seconds old, so it asks again: on the
// stored users before it changes them, and from time to time while a request stays open.
type permit struct {
	token  string // of the request; empty for a guest
	name   string // of the caller
	allows func(Caller) error
}

// permitFor asks the policy about a request. The owner of some objects is not in the
// path: the call of their endpoint asks again, with the owner.
func (h *Handler) permitFor(req *http.Request, e endpoint) (permit, error) {
	caller, _ := callerOf(req.Context()) // the zero caller is a guest
	p := permit{name: caller.Name}
	if !caller.Guest() {
		p.token = bearer(req)
	}
	o := identity.Object{Kind: e.kind}
	switch {
	case e.kind == identity.Job && e.verb == identity.Create:
		p.allows = func(Caller) error { return nil } // the virtual cluster is in the text: JobAPI asks
		return p, nil
	case e.kind == identity.Job:
		id, err := jobID(req)
		if err != nil {
			return p, err
		}
		o = objectOf(id)
	case e.kind == identity.Token || e.kind == identity.Profile:
		o.Owner = caller.Name
	case e.kind == identity.Storage:
		o.Name = chi.URLParam(req, "storage")
	}
	p.allows = func(c Caller) error { return h.Policy.Authorize(c, e.verb, o) }
	return p, p.allows(caller)
}

// holdsFor returns an error unless the caller, as known now, can still do what the
// request asked for.
func (p permit) holdsFor(c Caller) error {
	if c.Name != p.name {
		return errTokenInvalid
	}
	return p.allows(c)
}

// holdsIn is holdsFor with the holder of the token in users that were just read. A user
// who was deleted and created again has other tokens.
func (p permit) holdsIn(d directory) error {
	c, _, found := d.holder(hashToken(p.token), time.Now())
	if !found {
		return errTokenInvalid
	}
	return p.holdsFor(c)
}

type permitKey struct{}

// withPermit returns a context for calls of a request. Accounts checks its permit before
// each change, so no endpoint has to.
func withPermit(ctx context.Context, p permit) context.Context {
	if p.token == "" {
		return ctx // a login has no rights yet
	}
	return context.WithValue(ctx, permitKey{}, p)
}

// permitted returns an error if the context is that of a request whose permit does not
// hold in the users. paictl, which writes users with the rights of the cluster, has none.
func permitted(ctx context.Context, d directory) error {
	p, ok := ctx.Value(permitKey{}).(permit)
	if !ok {
		return nil
	}
	return p.holdsIn(d)
}
