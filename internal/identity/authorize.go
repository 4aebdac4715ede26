package identity

import (
	"errors"
	"slices"

	"pai.dev/pai/internal/pai"
)

// The reasons of a refusal, which errors of Authorize wrap.
var (
	ErrGuest       = errors.New("the request has no valid token")
	ErrApplication = errors.New("an application token cannot do this")
	ErrNotAdmin    = errors.New("only an administrator can do this")
	ErrNotOwner    = errors.New("it belongs to another user")
	ErrNotMember   = errors.New("no group of the user has the right")
)

// Policy is what an operator configures about rights. The zero Policy is the safe one.
type Policy struct {
	// ListOthersJobs lets every user see the jobs of all users in the list of jobs.
	// Configuration and output stay with the owner and with administrators.
	ListOthersJobs bool
}

// Authorize returns nil if the caller can do verb with the object. The error is
// CodeForbidden and wraps the reason. It does not depend on whether the object exists.
func (p Policy) Authorize(c Caller, verb Verb, o Object) error {
	rules := Rules()
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.Kind == o.Kind && r.Verb == verb })
	if i < 0 {
		return pai.Errorf(pai.CodeForbidden, "", "%s %s: no rule allows this", verb, o.Kind)
	}
	who := rules[i].Who
	if who == Anyone || who == LinkHolder { // who reads a link asks again, for its user
		return nil
	}
	if c.Guest() {
		return pai.Errorf(pai.CodeForbidden, "send the header Authorization: Bearer TOKEN", "%s %s: %w", verb, o, ErrGuest)
	}
	if reason := p.refusal(c, who, o); reason != nil {
		return pai.Errorf(pai.CodeForbidden, nextOf(reason), "%s %s: %w", verb, o, reason)
	}
	return nil
}

// refusal is why a rule does not allow a caller that is no guest; nil if it does.
func (p Policy) refusal(c Caller, who Who, o Object) error {
	owner := o.Owner != "" && c.Name == o.Owner
	switch who {
	case Anyone, LinkHolder, AnyToken:
		return nil
	case UserToken:
		return unless(!c.Application, ErrApplication)
	case OwnerToken:
		return errors.Join(unless(!c.Application, ErrApplication), unless(owner, ErrNotOwner))
	case OwnerOrAdmin:
		return unless(owner || c.Admin, ErrNotOwner)
	case Visible:
		return unless(owner || c.Admin || p.ListOthersJobs, ErrNotOwner)
	case Member:
		if o.Kind == Storage {
			return unless(c.Admin || slices.Contains(c.Storages, o.Name), ErrNotMember)
		}
		return unless(c.CanUse(o.VirtualCluster), ErrNotMember)
	case AdminToken:
		return unless(c.Admin, ErrNotAdmin)
	case AdminUser:
		if c.Application { // the reason that clients expect first
			return ErrApplication
		}
		return unless(c.Admin, ErrNotAdmin)
	}
	return ErrNotAdmin
}

func unless(ok bool, reason error) error {
	if ok {
		return nil
	}
	return reason
}

func nextOf(reason error) string {
	switch {
	case errors.Is(reason, ErrApplication):
		return "log in, and use the token of the login"
	case errors.Is(reason, ErrNotOwner):
		return "ask its owner or an administrator"
	case errors.Is(reason, ErrNotMember):
		return "ask an administrator for the right; to give it to a group, run: paictl group update"
	}
	return "ask an administrator"
}

// String names an object in messages.
func (o Object) String() string {
	name := o.Name
	if o.Kind == Job && name == "" && o.VirtualCluster != "" {
		return `job in virtual cluster "` + o.VirtualCluster + `"`
	}
	if name == "" {
		return string(o.Kind)
	}
	return string(o.Kind) + ` "` + name + `"`
}
