package contracts

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxConfigBytes bounds the text of a configuration file.
	MaxConfigBytes = 4 << 20
	// MaxPackedConfigBytes bounds one in a request, packed: JSON has 4 bytes for 3, and
	// the rest of the request needs room.
	MaxPackedConfigBytes = (MaxRequestBytes - 16<<10) / 4 * 3
	// plainConfigBytes is how long a text is sent as it is; JSON may have 6 bytes for one.
	plainConfigBytes = 32 << 10
)

// ErrConfigTooLong is of a configuration file that no request has room for.
var ErrConfigTooLong = errors.New("the configuration is too long to be sent")

// ConfigText is a configuration file in a request: its text, or that packed.
type ConfigText struct {
	// Config is the text of the file.
	Config string `json:"config"`
	// Packed is the text compressed by gzip, instead of Config, where that would not
	// fit; at most [MaxPackedConfigBytes].
	Packed []byte `json:"packed,omitempty"`
}

// PackConfig returns a file's text as requests have it, or ErrConfigTooLong.
func PackConfig(text string) (ConfigText, error) {
	if len(text) <= plainConfigBytes {
		return ConfigText{Config: text}, nil
	}
	packed, err := gzipped(text)
	if err == nil && (len(packed) > MaxPackedConfigBytes || len(text) > MaxConfigBytes) {
		err = fmt.Errorf("%w: it has %d bytes, and %d when it is compressed; at most %d, and %d compressed", ErrConfigTooLong, len(text), len(packed), MaxConfigBytes, MaxPackedConfigBytes)
	}
	return ConfigText{Packed: packed}, err
}

func gzipped(text string) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Text returns the file's text. What unpacks to more than MaxConfigBytes is not read.
func (c ConfigText) Text() (string, error) {
	if len(c.Packed) == 0 {
		return c.Config, nil
	}
	if c.Config != "" {
		return "", errors.New("config and packed: one of them is enough")
	}
	r, err := gzip.NewReader(bytes.NewReader(c.Packed))
	if err != nil {
		return "", fmt.Errorf("packed: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, MaxConfigBytes+1))
	if err != nil {
		return "", fmt.Errorf("packed: %w", err)
	}
	if len(text) > MaxConfigBytes {
		return "", fmt.Errorf("packed: it has more than %d bytes", MaxConfigBytes)
	}
	return string(text), nil
}
