// Package openpaisecrets reads users, groups, and application tokens of an OpenPAI
// cluster from its Kubernetes Secrets, in the form in which kubectl prints them. It
// decides nothing about them.
package openpaisecrets
