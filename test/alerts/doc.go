// Package alerts tests the rules of alerts of the service prometheus: each has what an
// operator needs, a section in docs/alerts.md, and a test of promtool in which it occurs and
// one in which it does not. The end-to-end tests ask it which metrics a rule reads.
package alerts
