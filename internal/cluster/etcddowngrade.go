package cluster

import (
	"context"
	"fmt"
	"time"

	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// addLearner adds the new slot as a learner, if it is no member yet. For an etcd of
// an older minor, it first has the data stored in the form of that minor.
//
// While a downgrade is enabled, etcd accepts no member of the older minor whose data
// is new. So the downgrade ends before the learner starts. Until then, the learner
// keeps the data in the older form: etcd stores a newer one only if all members,
// which it asks for their versions, know that form.
func (e etcdHandover) addLearner(ctx context.Context, members etcd.Members) (etcd.Members, error) {
	if members.Started(e.m, e.to) != nil {
		return members, nil
	}
	older, err := e.olderMinor(ctx)
	if err != nil {
		return nil, err
	}
	wait := poll.Wait{For: fmt.Sprintf("etcd on %s to accept a learner", e.h.Name()), Timeout: learnerTimeout, Every: time.Second}
	err = wait.Until(ctx, func(ctx context.Context) (bool, error) {
		if members, err = e.prepareLearner(ctx, members, older); err != nil || older == "" {
			return err == nil, poll.Final(err)
		}
		status, err := e.etcd.Status(ctx, e.from)
		if err != nil || etcd.Minor(status.Storage) == older {
			return err == nil, err
		}
		// It was added a moment too late, or by a handover to the newer minor.
		if err := e.etcd.Remove(ctx, e.m, e.from, members.At(e.m, e.to).ID); err != nil {
			return false, poll.Final(err)
		}
		members, err = e.etcd.List(ctx, e.from)
		return false, err
	})
	return members, err
}

// prepareLearner is one attempt to add the learner. Data in its slot without a
// member is old, and is removed first.
func (e etcdHandover) prepareLearner(ctx context.Context, members etcd.Members, older string) (etcd.Members, error) {
	if members.At(e.m, e.to) == nil {
		if err := stopRole(ctx, e.h, e.to.Etcd); err != nil {
			return nil, err
		}
		if err := removeEtcdData(ctx, e.h, e.to); err != nil {
			return nil, err
		}
		if older != "" {
			e.Progress("etcd on %s stores its data in the form of etcd %s", e.h.Name(), older)
			if err := e.etcd.Downgrade(ctx, e.from, older); err != nil {
				return nil, err
			}
		}
		var err error
		if members, err = e.etcd.AddLearner(ctx, e.m, e.to); err != nil {
			return nil, err
		}
	}
	return members, e.etcd.EndDowngrade(ctx, e.from)
}

// olderMinor is the minor of the etcd that takes over, if that is older than the
// minor of the one that serves.
func (e etcdHandover) olderMinor(ctx context.Context) (string, error) {
	i, err := e.installed(ctx, e.h, e.v)
	if err != nil {
		return "", err
	}
	status, err := e.etcd.Status(ctx, e.from)
	if err != nil {
		return "", err
	}
	to, from := etcd.Minor(i.Programs["etcd"]), etcd.Minor(status.Version)
	if to == "" || from == "" || pai.CompareVersions("v"+to, "v"+from) >= 0 {
		return "", nil
	}
	return to, nil
}
