// Package program knows how a file is written that will be run.
package program

import "syscall"

// Write calls write, which opens a file, writes a program into it and closes
// it, while this process starts no command.
//
// A command that another goroutine starts meanwhile would inherit the open
// file until it has become another program, and a file that anybody has open
// for writing cannot be run: "text file busy" (golang.org/issue/22315). To
// close the file under the lock is not enough: the kernel lets the starter of
// a command go on a moment before it closes what the command inherited.
//
// Starting commands waits for write, which must therefore not wait for one.
func Write(write func() error) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return write()
}
