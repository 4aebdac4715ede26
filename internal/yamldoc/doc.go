// Package yamldoc reads YAML that a person wrote: it bounds what a document can
// cost, and reports every mistake with its place and in the words of the person
// who has to fix it. It must not import other packages of PAI.
package yamldoc
