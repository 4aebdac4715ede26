package helper

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/storageprobe"
)

// TryStorage tries a storage on a machine, in a mount namespace that ends with the program. The
// caller limits the time: a machine can have a file system that answers no call.
func TryStorage(ctx context.Context, host machine.Host, r storageprobe.Request) (storageprobe.Result, error) {
	if _, err := Inspect(ctx, host, inspect.Request{}); err != nil { // it delivers the program
		return storageprobe.Result{}, err
	}
	request, err := json.Marshal(r)
	if err != nil {
		return storageprobe.Result{}, err
	}
	answer := &limited{left: storageprobe.MaxAnswer + 1}
	_, err = host.Run(ctx, machine.Command{
		// What the machine unmounts leaves the namespace too, and a mount of the namespace stays in it.
		Script: "exec unshare --mount --propagation slave " + layout.Helper(Digest()) + " storage", Stdin: bytes.NewReader(request), Stdout: answer,
	})
	if err != nil {
		return storageprobe.Result{}, fmt.Errorf("try the storage on machine %q: %w", host.Name(), err)
	}
	found, err := storageprobe.ReadResult(answer.Bytes())
	if err != nil {
		return found, fmt.Errorf("try the storage on machine %q: %w", host.Name(), err)
	}
	return found, nil
}
