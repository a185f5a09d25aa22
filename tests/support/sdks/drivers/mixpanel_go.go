// github.com/mixpanel/mixpanel-go. It sends nothing again by itself: an app that does so gives its events an `$insert_id`.
package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/mixpanel/mixpanel-go"
)

// mixpanelTries does it again until it is done.
func mixpanelTries(send func() error) error {
	var err error
	for try := 0; try < 8; try++ {
		if err = send(); err == nil {
			return nil
		}
	}
	return err
}

func mixpanelGo(told script) error {
	ctx := context.Background()
	client := mixpanel.NewApiClient(told.Key, mixpanel.ProxyApiLocation(told.Host))
	for number, one := range told.Messages {
		track := func(name, distinctID string, properties map[string]any) error {
			event := client.NewEvent(name, distinctID, properties)
			event.AddTime(one.At)
			event.AddInsertID(strconv.Itoa(number))
			return mixpanelTries(func() error { return client.Track(ctx, []*mixpanel.Event{event}) })
		}
		var err error
		switch one.Do {
		case "track":
			err = track(one.Event, one.who(), one.Properties)
		case "identify":
			err = track("$identify", one.User, map[string]any{"$anon_distinct_id": one.Anonymous})
			if err == nil {
				person := mixpanel.NewPeopleProperties(one.User, one.Traits)
				err = mixpanelTries(func() error {
					return client.PeopleSet(ctx, []*mixpanel.PeopleProperties{person})
				})
			}
		case "alias":
			err = mixpanelTries(func() error { return client.Alias(ctx, one.User, one.Old) })
		case "group":
			err = mixpanelTries(func() error { return client.GroupSet(ctx, "company", one.Group, one.Traits) })
		default:
			err = fmt.Errorf("it knows no %s", one.Do)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
