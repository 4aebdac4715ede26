package run

import (
	"slices"

	"pai.dev/pai/internal/pai"
)

// Commands of a holder that did not release the lock, or that lost its connection to a
// machine, might still run there: sshd does not notice for hours that the host of a paictl
// is lost. The lock names these holders until their commands were ended on every machine.

// staleLimit is how many holders the lock names at most. Each is a process that ended
// without releasing the lock, or released it while a command might run, while a machine was
// not reached.
const staleLimit = 100

// staleAfter are the tokens that follow from the last holder. expired reports whether
// the lock is taken over from it. A scheduled backup runs no command with its token.
func staleAfter(last Holder, expired bool) []string {
	stale := slices.Clone(last.Stale)
	if expired && last.Verb != pai.VerbScheduledBackup {
		stale = append(stale, last.Token)
	}
	return newest(stale)
}

func newest(stale []string) []string { return stale[max(0, len(stale)-staleLimit):] }

// Unended says that a command with the token of this lock might still run on a machine: the
// connection to it was lost. From its release on, the lock names the token.
func (l *Lock) Unended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unended = true
}

// staleAfterRelease are the tokens that the released lock names. l.mu is held.
func (l *Lock) staleAfterRelease() []string {
	stale := slices.Clone(l.holder.Stale)
	if l.unended {
		stale = append(stale, l.holder.Token)
	}
	return newest(stale)
}

// Stale are the tokens of earlier holders whose commands might still run on machines.
func (l *Lock) Stale() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.holder.Stale)
}

// StaleEnded says that no command with these tokens runs on any machine. The next
// heartbeat or the release of the lock writes it.
func (l *Lock) StaleEnded(tokens []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holder.Stale = slices.DeleteFunc(slices.Clone(l.holder.Stale), func(t string) bool { return slices.Contains(tokens, t) })
}
