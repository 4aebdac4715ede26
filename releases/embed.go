// Package releases holds the manifests of the releases that this paictl knows.
package releases

import "embed"

// FS has one directory per release, with its release.yaml.
//
//go:embed */release.yaml
var FS embed.FS
