// Package contracts is everything MisterSmith's parts share about each other:
// subjects, messages, events, streams and limits. Two programs that agree on
// this package, or on docs/protocol.md which describes it for other languages,
// can work together without knowing each other's code.
//
// It promises that whatever passes its decoders is well formed and bounded:
// ids are single NATS tokens, bodies are within their limits, and enumerations
// hold known values. On the wire unknown fields are ignored, so a newer program
// may add some.
package contracts
