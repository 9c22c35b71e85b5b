import { useEffect } from "preact/hooks";

/** A screen that hangs on a wall must not go dark; browsers that cannot promise it are left alone. */
export function useWakeLock(): void {
  useEffect(() => {
    let lock: WakeLockSentinel | null = null;
    const hold = () => {
      if (document.hidden) return;
      navigator.wakeLock?.request("screen").then(
        (held) => (lock = held),
        () => {},
      );
    };
    hold();
    document.addEventListener("visibilitychange", hold);
    return () => {
      document.removeEventListener("visibilitychange", hold);
      void lock?.release();
    };
  }, []);
}
