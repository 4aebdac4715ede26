// Package alerts tests the rules of alerts of the service prometheus: each has what an
// operator needs, a section in docs/alerts.md, and a test of promtool in which it occurs and
// one in which it does not.
package alerts
