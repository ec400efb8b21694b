package shell

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// NewLogger writes readable lines on a terminal and JSON otherwise; format
// auto, text or json overrides that. Colour honours NO_COLOR.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var min slog.Level
	if err := min.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: use debug, info, warn or error", level)
	}
	tty := isTerminal(w)
	switch format {
	case "json":
	case "text":
		return slog.New(textHandler(w, min, tty)), nil
	case "", "auto":
		if tty {
			return slog.New(textHandler(w, min, tty)), nil
		}
	default:
		return nil, fmt.Errorf("log format %q: use auto, text or json", format)
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: min})), nil
}

func textHandler(w io.Writer, min slog.Level, tty bool) slog.Handler {
	return tint.NewTextHandler(w, &tint.Options{
		Level: min, TimeFormat: "15:04:05.000",
		NoColor: !tty || os.Getenv("NO_COLOR") != "",
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if d, ok := a.Value.Any().(time.Duration); ok {
				return slog.String(a.Key, d.Round(10*time.Microsecond).String())
			}
			return a
		},
	})
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func hostname() string {
	h, err := os.Hostname()
	if err != nil {
		return ""
	}
	return h
}

func pid() int { return os.Getpid() }
