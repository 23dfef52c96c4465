// Following a job until it ends, by server-sent events: the job goes on whoever looks at it.
import { ask } from "./common.js";
import { show } from "./outcome.js";

/** One job is followed at a time. `progress(job)` while it runs, `ended(job)` once, `lost(problem)` where it is gone. */
export function follower({ progress, ended, lost }) {
  let source = null;

  function stop() {
    source?.close();
    source = null;
  }

  function watch(id) {
    stop();
    show("running");
    const mine = new EventSource(`/api/searches/${id}/events`);
    source = mine;
    mine.addEventListener("search", (event) => {
      if (mine !== source) return;
      const now = JSON.parse(event.data);
      progress(now);
      if (now.status === "running") return;
      mine.close();
      ended(now);
    });
    mine.onerror = async () => {
      if (mine !== source || mine.readyState !== EventSource.CLOSED) return;
      try {
        const now = await ask("GET", `/api/searches/${id}`);
        if (mine !== source) return;
        if (now.status === "running") watch(id);
        else ended(now);
      } catch (problem) {
        if (mine === source) lost(problem);
      }
    };
  }

  return { watch, stop };
}
