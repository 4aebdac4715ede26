// Package session connects a command to one cluster: configuration, machines,
// API, bundles, lock, and journal. It plans nothing and changes nothing.
package session
