package certs

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
)

const (
	// approveEvery is the pause between two looks at the requests: a kubelet waits
	// for its serving certificate that long at most.
	approveEvery = 5 * time.Second
	// renewEvery is the pause between two looks at the certificates if none becomes
	// due before; retryEvery is the pause after a failure.
	renewEvery = time.Hour
	retryEvery = time.Minute
)

// Keep renews certificates when they become due, and approves requests where the key
// of the authority is, until the context ends or its unit is removed.
func Keep(ctx context.Context, s Store) {
	a, failed := &Approver{Store: s}, ""
	var renewAt time.Time
	for ctx.Err() == nil && s.wanted() {
		if !s.Now().Before(renewAt) {
			renewAt = s.renewDue(ctx)
		}
		pause := min(renewEvery, renewAt.Sub(s.Now()))
		if _, err := s.issuer(clusterCA); err == nil {
			text := ""
			if err := a.Approve(ctx); err != nil && ctx.Err() == nil {
				text = err.Error()
			}
			if text != "" && text != failed { // an API server that is being replaced is no news
				s.Log.Warn("certificate requests could not be approved; trying again", "error", text)
			}
			failed = text
			pause = min(pause, approveEvery)
		} else if !errors.Is(err, fs.ErrNotExist) {
			s.Log.Warn("the authority of the cluster cannot be used", "error", err.Error())
		}
		_ = poll.Sleep(ctx, max(pause, 100*time.Millisecond)) // the loop looks at the context
	}
	if !s.wanted() {
		s.removeMetrics()
	}
}

// wanted reports whether the unit of the program is still there: a paictl of an older
// release removes units without stopping this one.
func (s Store) wanted() bool {
	_, err := s.changed(layout.UnitsDir + "/" + layout.CertificatesUnit)
	return !errors.Is(err, fs.ErrNotExist)
}

// renewDue renews what is due, and returns when to look again.
func (s Store) renewDue(ctx context.Context) time.Time {
	_, err := s.Renew(ctx, false)
	if err == nil {
		err = s.RenewServer(ctx, false)
	}
	if ctx.Err() == nil { // a renewal that was interrupted says nothing
		s.writeMetrics(err == nil)
	}
	if err != nil && ctx.Err() == nil {
		s.Log.Warn("certificates could not be renewed; trying again", "error", err.Error())
		return s.Now().Add(retryEvery)
	}
	next := s.Now().Add(renewEvery)
	for _, f := range files() {
		c, err := s.certificate(f)
		if err == nil && (f.kind == kindPair || f.kind == kindKubeconfig) && dueAt(c).Before(next) {
			next = dueAt(c)
		}
	}
	return next
}
