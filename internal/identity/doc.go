// Package identity decides who can do what with the REST server. Policy.Authorize is
// the only place that decides; its rules are a table, and docs/users.md is made from
// it. The package also has the forms of passwords and tokens. It knows neither HTTP
// nor Kubernetes.
//
// To add an operation, find its rule in rules.go or add one, and name it in the table
// of endpoints of package rest. A test walks every endpoint with every role.
package identity
