// Package fence keeps a process that has lost the lock of a cluster from changing the
// cluster. Commands on machines and requests that write ask the fence in their context
// right before they start: a process that was suspended does not know yet that it has
// lost the lock, and its context has not ended.
package fence

import "context"

// Fence is what a context with the lock of a cluster carries.
type Fence struct {
	// Token names the acquisition of the lock. Commands on machines have it in their
	// command line, so that the next holder can end what is left of them.
	Token string
	// Held returns nil while the lock is held.
	Held func() error
	// Unended is called when a command with the token might still run, on a machine whose
	// connection was lost. It can be nil.
	Unended func()
}

type key struct{}

// With returns a context whose commands and writes need the lock.
func With(ctx context.Context, f Fence) context.Context { return context.WithValue(ctx, key{}, f) }

// Without returns a context whose commands need no lock: for those that only observe. An
// operation that has lost the lock still reports what happened to the jobs.
func Without(ctx context.Context) context.Context { return With(ctx, Fence{}) }

// Token is the token of the lock that a context needs; empty if it needs none.
func Token(ctx context.Context) string {
	f, _ := ctx.Value(key{}).(Fence)
	return f.Token
}

// Unended says that a command of a context might still run.
func Unended(ctx context.Context) {
	if f, ok := ctx.Value(key{}).(Fence); ok && f.Unended != nil {
		f.Unended()
	}
}

// Check returns why nothing must be changed in a context; nil if it needs no lock.
func Check(ctx context.Context) error {
	if f, ok := ctx.Value(key{}).(Fence); ok && f.Held != nil {
		return f.Held()
	}
	return nil
}
