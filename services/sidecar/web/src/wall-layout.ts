// What fits on a wall: it is never scrolled, so what does not fit is never seen.

/** What is left for tiles and plots, in pixels; `em` is the size of the wall's text. */
export interface Room {
  width: number;
  height: number;
  em: number;
}

export const TILE_SIZES = ["large", "medium", "small", "tiny"] as const;
export type TileSize = (typeof TILE_SIZES)[number];

export interface WallLayout {
  /** Null: the counts of agents say it alone. */
  tiles: TileSize | null;
  /** How large the plots are drawn, 1 being their usual size; 0 where there is no room for them. */
  plots: number;
}

/** As wall.css has them, in em. */
const TILES: Record<TileSize, { width: number; height: number }> = {
  large: { width: 12.5, height: 5.8 },
  medium: { width: 10, height: 4.6 },
  small: { width: 9.4, height: 3.6 },
  tiny: { width: 7.6, height: 3.2 },
};
const GAP = 0.6;
const BETWEEN = 0.9;
/** A plot is 176 px high; around it are its title, its legend, and room for a line that says it is late. */
const PLOT_PX = 176;
const AROUND_PLOT = 6;
const [LEAST_PLOT, MOST_PLOT] = [0.85, 2.5];
/** More than these cannot be read from the other end of a room. */
const MOST_TILES = 60;

function tilesHeight(size: TileSize, agents: number, room: Room): number {
  const { width, height } = TILES[size];
  const columns = Math.max(1, Math.floor((room.width / room.em + GAP) / (width + GAP)));
  const rows = Math.ceil(agents / columns);
  return (rows * (height + GAP) - GAP) * room.em;
}

function plotsIn(height: number, em: number): number {
  const scale = (height - AROUND_PLOT * em) / PLOT_PX;
  return scale < LEAST_PLOT ? 0 : Math.min(scale, MOST_PLOT);
}

/** The largest that fits: people first, then the day in plots. */
export function wallLayout(agents: number, room: Room): WallLayout {
  if (agents > 0 && agents <= MOST_TILES) {
    const left = (size: TileSize): number => room.height - tilesHeight(size, agents, room);
    for (const tiles of ["large", "medium"] as const) {
      const plots = plotsIn(left(tiles) - BETWEEN * room.em, room.em);
      if (plots > 0) return { tiles, plots };
    }
    const tiles = TILE_SIZES.find((size) => left(size) >= 0);
    if (tiles !== undefined) return { tiles, plots: 0 };
  }
  return { tiles: null, plots: plotsIn(room.height, room.em) };
}
