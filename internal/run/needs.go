package run

import (
	"encoding/json"
	"errors"
	"fmt"

	"pai.dev/pai/internal/pai"
)

// A paictl must not operate on a cluster that a newer one has upgraded: it does not
// know what runs there. The lock says which release of paictl the cluster needs,
// because every operation takes the lock before it changes anything.

// unaware is the newest release whose paictl reads only a Holder, not what a cluster
// needs. For a cluster that needs anything newer, also a patch of that release, the lock
// file has a form that such a paictl refuses.
const unaware pai.Release = "v0.10"

// refusedForm is that form. An older paictl reads since as a time, so its error
// quotes the sentence, and it finds no token.
type refusedForm struct {
	Since  string      `json:"since"`
	Needs  pai.Release `json:"needs"`
	Holder *Holder     `json:"holder"`
}

// encode is the content of a lock file.
func (h Holder) encode() ([]byte, error) {
	var form any = h
	if unaware.Less(h.Needs) {
		form = refusedForm{Since: fmt.Sprintf("this cluster needs paictl %s or newer", h.Needs), Needs: h.Needs, Holder: &h}
	}
	data, err := json.Marshal(form)
	if err != nil {
		return nil, fmt.Errorf("encode lock: %w", err)
	}
	return data, nil
}

// decodeHolder reads the content of a lock file.
func decodeHolder(data []byte) (Holder, error) {
	var form struct {
		Needs  pai.Release `json:"needs"`
		Holder *Holder     `json:"holder"`
	}
	var h Holder
	err := json.Unmarshal(data, &form)
	switch {
	case err != nil:
		return h, err
	case form.Holder != nil:
		h = *form.Holder
		h.Needs = form.Needs
	default:
		err = json.Unmarshal(data, &h)
	}
	if err == nil && h.Token == "" {
		err = errors.New("it names no holder")
	}
	return h, err
}

// checkNeeds refuses a cluster that needs a newer paictl than this process.
func (h Holder) checkNeeds(last Holder) error {
	if last.Needs == "" || pai.Release(h.Version).AtLeast(last.Needs) {
		return nil
	}
	return pai.Errorf(pai.CodeRefused, fmt.Sprintf("use the paictl that belongs to release %s, or a newer one", last.Needs),
		"this cluster needs paictl %s or newer, and this is paictl %s", last.Needs, h.Version)
}

// needsAfter is what the cluster needs from now on.
func (o LockOptions) needsAfter(last Holder) pai.Release {
	if o.AllKnown || o.Needs.AtLeast(last.Needs) {
		return o.Needs
	}
	return last.Needs
}

// Needs is what the lock says that the cluster needs.
func (l *Lock) Needs() pai.Release {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder.Needs
}

// SetNeeds changes what the lock says. The next heartbeat or the release of the lock
// writes it.
func (l *Lock) SetNeeds(needs pai.Release) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holder.Needs = needs
}
