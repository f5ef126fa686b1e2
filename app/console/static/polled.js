// State that is asked for again and again while the page is visible.

import { useCallback, useEffect, useRef, useState } from "./vendor/htm-preact.js";

/**
 * Calls `load` at once and every `intervalMs` after its end; a hidden page asks nothing.
 * Returns { value, error, refresh }; after an error the last value stays.
 */
export function usePolled(load, intervalMs) {
  const [state, setState] = useState({ value: undefined, error: null });
  const latest = useRef(load);
  latest.current = load;
  const refresh = useCallback(async () => {
    try {
      const value = await latest.current();
      setState({ value, error: null });
    } catch (error) {
      setState((before) => ({ ...before, error }));
    }
  }, []);
  useEffect(() => {
    let timer;
    let isEnded = false;
    const go = async () => {
      if (!document.hidden) await refresh();
      if (!isEnded) timer = setTimeout(go, intervalMs);
    };
    go();
    return () => {
      isEnded = true;
      clearTimeout(timer);
    };
  }, [intervalMs, refresh]);
  return { ...state, refresh };
}
