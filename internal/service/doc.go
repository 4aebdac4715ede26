// Package service handles the PAI services: it reads their service.yaml files,
// renders their charts for a configuration and a release, and applies, stops,
// and deletes them. services/README.md describes the directory of a service.
//
// It must not import packages about machines or jobs, and writes to the cluster
// only through package kube.
package service
