// Package deploy holds what a deployment needs, as files, and tests that those
// files do what they say.
package deploy
