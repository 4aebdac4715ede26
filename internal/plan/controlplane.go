package plan

// UnknownControlPlane is why the control-plane machine was not observed; empty if it was.
// That machine has the record of the cluster, so an empty Current is unknown then, and does
// not mean that there is no cluster.
func (w World) UnknownControlPlane() string {
	for _, m := range controlPlanes(w) {
		if m.Unreachable != "" {
			return m.Unreachable
		}
	}
	return ""
}
