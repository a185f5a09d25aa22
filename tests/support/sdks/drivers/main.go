// The SDKs of Go as an app uses them. The argument says which one; what stdin says is sent, message by message.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

type script struct {
	Host, Key string
	Messages  []message
}

type message struct {
	Do, Event, Name, User, Anonymous, Group, Old string
	At                                           time.Time
	Properties, Traits                           map[string]any
}

// who is the id of an SDK that knows one id alone.
func (one message) who() string {
	if one.User != "" {
		return one.User
	}
	return one.Anonymous
}

// oneByOne tells each message when the one before has arrived. The SDKs send each request beside the others: one that is
// sent again would come after what was said later.
func (told script) oneByOne(tell func(message) error, arrived <-chan error) error {
	for _, one := range told.Messages {
		if err := tell(one); err != nil {
			return err
		}
		if err := <-arrived; err != nil {
			return err
		}
	}
	return nil
}

var drivers = map[string]func(script) error{
	"amplitude_go": amplitudeGo,
	"mixpanel_go":  mixpanelGo,
	"posthog_go":   posthogGo,
	"rudder_go":    rudderGo,
	"segment_go":   segmentGo,
}

func main() {
	var told script
	err := json.NewDecoder(os.Stdin).Decode(&told)
	if err == nil {
		err = drivers[os.Args[1]](told)
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}
