package release

import (
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A bundle is an OCI image layout: one manifest per image, one for the
// programs (a layer per program set), one for the services (a zip archive)
// and one for the release's manifest.
const (
	typePrograms = "application/vnd.pai.programs.v1"
	typeServices = "application/vnd.pai.services.v1"
	typeRelease  = "application/vnd.pai.release.v1"

	typeEmpty = types.MediaType("application/vnd.oci.empty.v1+json") // OCI image spec 1.1, "guidance for an empty descriptor"
	typeZip   = types.MediaType("application/zip")
	typeYAML  = types.MediaType("application/yaml")

	typeMarkdown = types.MediaType("text/markdown")

	annotationRefName        = "org.opencontainers.image.ref.name" // OCI image spec 1.1
	annotationContainerdName = "io.containerd.image.name"          // containerd's core/images/annotations.go
	annotationTitle          = "org.opencontainers.image.title"    // OCI image spec 1.1
	annotationVersion        = "org.opencontainers.image.version"  // OCI image spec 1.1
	annotationName           = "dev.pai.name"                      // the pin's name in release.yaml

	layoutFile    = "oci-layout"                            // OCI image layout 1.0
	layoutContent = `{"imageLayoutVersion":"1.0.0"}` + "\n" // OCI image layout 1.0
	indexFile     = "index.json"                            // OCI image layout 1.0
)
