// Package releases holds the manifests of the releases that this paictl knows.
package releases

import "embed"

// FS has one directory per release, with its release.yaml and, if it has some, notes.
//
//go:embed */release.yaml */notes.md
var FS embed.FS
