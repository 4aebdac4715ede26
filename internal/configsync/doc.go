// Package configsync keeps a configuration directory and the revisions of a
// cluster in step: it pushes, pulls, compares, and rolls back.
package configsync
