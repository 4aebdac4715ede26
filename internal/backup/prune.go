package backup

import (
	"context"
	"crypto/ed25519"
	"strings"
	"time"

	"pai.dev/pai/internal/pai"
)

// incompleteAge is when an incomplete backup cannot be in progress any more.
const incompleteAge = 24 * time.Hour

// Prune deletes the usable backups of a cluster except the newest ones, and the
// incomplete ones from more than a day ago. It keeps at least one usable backup. It
// deletes nothing that the key did not sign: neither backups of other clusters, nor
// those with another signature or a damaged manifest, nor other files. A backup with a
// time in the future was made with a wrong clock. It stays, and counts for nothing: it
// must not replace one that was made since.
func Prune(ctx context.Context, t Target, clusterID string, keep int, key ed25519.PublicKey, now time.Time) (deleted []string, err error) {
	if keep < 1 {
		return nil, pai.Errorf(pai.CodeUsage, "keep at least one backup", "cannot keep %d backups", keep)
	}
	kept := 0
	return removeThose(ctx, t, clusterID, key, func(f Found, started time.Time) bool {
		switch {
		case f.Incomplete:
			return now.Sub(started) >= incompleteAge
		case !f.Usable(), f.ByMachine, f.ClusterID != clusterID, f.Taken.After(now):
			return false
		}
		kept++
		return kept > keep
	})
}

// PruneIncomplete deletes only the incomplete backups of a cluster from more than a day
// ago. So what was interrupted takes no space from the next backup.
func PruneIncomplete(ctx context.Context, t Target, clusterID string, now time.Time) (deleted []string, err error) {
	return removeThose(ctx, t, clusterID, nil, func(f Found, started time.Time) bool {
		return f.Incomplete && now.Sub(started) >= incompleteAge
	})
}

// removeThose deletes the backups of a cluster that remove returns true for. It is called
// with the newest first, and with the time in the name.
func removeThose(ctx context.Context, t Target, clusterID string, key ed25519.PublicKey, remove func(f Found, started time.Time) bool) (deleted []string, err error) {
	var trusted []ed25519.PublicKey
	if key != nil {
		trusted = append(trusted, key)
	}
	all, err := List(ctx, t, trusted)
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		text, ok := strings.CutPrefix(f.Name, clusterID+"-")
		if !ok {
			continue
		}
		started, err := time.Parse(nameTime, strings.ToUpper(text))
		if err != nil || !remove(f, started) {
			continue
		}
		if err := deleteBackup(ctx, t, f.Name); err != nil {
			return deleted, err
		}
		deleted = append(deleted, f.Name)
	}
	return deleted, nil
}
